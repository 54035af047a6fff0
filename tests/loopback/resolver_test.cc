// What name servers answer, and for how long it is remembered.
#include <gmock/gmock.h>

#include "tests/loopback/resolving.h"

namespace sluice::proxy {
namespace {

using testing::IsEmpty;

// Does `act` with a number, and with the next one where it took as long as what was learnt lives:
// whoever stood still meanwhile learns anew, and rightly. False: it always did.
bool within(Clock::duration life, const std::function<void(int number)>& act) {
  const auto until = Clock::now() + patience;
  for (int number = 0; Clock::now() < until; ++number) {
    const auto began = Clock::now();
    act(number);
    if (Clock::now() - began < life) return true;
  }
  return false;
}

TEST(Resolver, AsksForBothFamiliesAndTakesThemInTurn) {
  Names names(everywhere("192.0.2.1 192.0.2.2 2001:db8::1 192.0.2.1"));
  EXPECT_EQ(names.resolve("a.test"), "2001:db8::1 192.0.2.1 192.0.2.2");
  EXPECT_THAT(names.asked(), testing::UnorderedElementsAre("a.test A udp", "a.test AAAA udp"));
}

TEST(Resolver, AsksOnceForWhatItStillKnows) {
  Names names(everywhere("192.0.2.1"));
  EXPECT_EQ(names.resolve("a.test"), "192.0.2.1");
  EXPECT_EQ(names.resolve("a.test", "other"), "192.0.2.1");
  EXPECT_EQ(names.asked().size(), 2U);
}

TEST(Resolver, KnowsALivingAnswerWithoutAQuestion) {
  Names names([](const Asked& asked) {
    if (asked.name == "none.test") return Replies{reply(asked, {}, {.code = 3})};
    return Replies{addresses(asked, "192.0.2.1", asked.name == "a.test" ? 60 : 0)};
  });
  EXPECT_EQ(names.resolver->known("a.test"), nullptr);
  names.resolve("a.test");
  names.resolve("short.test");
  names.resolve("none.test");
  ASSERT_NE(names.resolver->known("a.test"), nullptr);
  EXPECT_EQ(names.resolver->known("a.test")->size(), 1U);
  ASSERT_NE(names.resolver->known("none.test"), nullptr);
  EXPECT_TRUE(names.resolver->known("none.test")->empty());
  names.io.run_for(1100ms);
  EXPECT_EQ(names.resolver->known("short.test"), nullptr);
}

TEST(Resolver, KeepsATtlOf0ForASecond) {
  Names names(everywhere("192.0.2.1", 0));
  std::string name;
  std::size_t before = 0;
  EXPECT_TRUE(within(1s, [&](int number) {
    name = fmt::format("n{}.test", number);
    before = names.asked().size();
    EXPECT_EQ(names.resolve(name), "192.0.2.1");
    EXPECT_EQ(names.resolve(name), "192.0.2.1");
  }));
  EXPECT_EQ(names.asked().size() - before, 2U);
  names.io.run_for(1100ms);
  EXPECT_EQ(names.resolve(name), "192.0.2.1");
  EXPECT_EQ(names.asked().size() - before, 4U);
}

TEST(Resolver, RemembersForFiveSecondsThatThereIsNoSuchNameOrNoAddress) {
  Names names([](const Asked& asked) {
    return Replies{reply(asked, {}, {.code = asked.name.starts_with("none") ? nxdomain : 0})};
  });
  std::string none;
  std::string empty;
  std::size_t before = 0;
  EXPECT_TRUE(within(5s, [&](int number) {
    none = fmt::format("none{}.test", number);
    empty = fmt::format("empty{}.test", number);
    before = names.asked().size();
    for (const auto& name : {none, empty, none, empty}) {
      EXPECT_EQ(names.resolve(name), "dns_failed");
    }
  }));
  EXPECT_EQ(names.asked().size() - before, 4U);
  names.io.run_for(5100ms);
  for (const auto& name : {none, empty}) EXPECT_EQ(names.resolve(name), "dns_failed");
  EXPECT_EQ(names.asked().size() - before, 8U);
}

TEST(Resolver, RemembersNoNameServersFailure) {
  for (const unsigned code : {servfail, refused}) {
    Names names(fails_with(code));
    EXPECT_EQ(names.resolve("a.test"), "dns_failed");
    const std::size_t once = names.asked().size();
    EXPECT_EQ(names.resolve("a.test"), "dns_failed");
    EXPECT_EQ(names.asked().size(), 2 * once) << code;
  }
}

TEST(Resolver, SaysTimeoutWhereNobodyAnswersAndRemembersNothing) {
  Names names(silence, 600ms);
  EXPECT_EQ(names.resolve("a.test"), "dns_timeout");
  const std::size_t once = names.asked().size();
  EXPECT_EQ(names.resolve("a.test"), "dns_timeout");
  EXPECT_GT(names.asked().size(), once);
}

TEST(Resolver, AsksTheSecondServerWhereTheFirstFailsOrIsSilent) {
  for (const Zone& first : {fails_with(servfail), Zone(silence)}) {
    Names names({first, everywhere("192.0.2.7")}, 6s);
    EXPECT_EQ(names.resolve("a.test"), "192.0.2.7");
    EXPECT_FALSE(names.asked(0).empty());
    EXPECT_FALSE(names.asked(1).empty());
  }
}

TEST(Resolver, BelievesTheFirstServerThatThereIsNoSuchName) {
  Names names({fails_with(nxdomain), everywhere("192.0.2.7")});
  EXPECT_EQ(names.resolve("a.test"), "dns_failed");
  EXPECT_THAT(names.asked(1), IsEmpty());
}

TEST(Resolver, DropsAnAnswerWithAnotherIdOrToAnotherQuestion) {
  Names names([](const Asked& asked) {
    Asked other = asked;
    other.name = "b.test";
    other.bytes = asked.bytes.substr(0, 12) + encoded("b.test") +
                  asked.bytes.substr(12 + encoded(asked.name).size());
    const std::string forged = address_record(asked.name, "192.0.2.66");
    const std::string forged_other = address_record("b.test", "192.0.2.66");
    return Replies{reply(asked, {forged}, {.id_change = 0x55}), reply(other, {forged_other}),
                   "\x01", addresses(asked, "192.0.2.1")};
  });
  EXPECT_EQ(names.resolve("a.test"), "192.0.2.1");
}

TEST(Resolver, FollowsAChainOfAliases) {
  Names names([](const Asked& asked) {
    std::vector<std::string> records = {record("a.test", type_cname, encoded("b.test")),
                                        record("b.test", type_cname, encoded("c.test"))};
    if (asked.type == type_a) records.push_back(address_record("c.test", "192.0.2.3"));
    return Replies{reply(asked, records)};
  });
  EXPECT_EQ(names.resolve("a.test"), "192.0.2.3");
}

TEST(Resolver, RemembersNoMoreThan4096Names) {
  Names names(everywhere("192.0.2.1", 300));
  const auto times_asked = [&] {
    const auto& asked = names.asked();
    return std::count(asked.begin(), asked.end(), "n0.test A udp");
  };
  for (int i = 0; i < 4096; ++i) names.resolve(fmt::format("n{}.test", i));
  names.resolve("n0.test");
  EXPECT_EQ(times_asked(), 1);
  names.resolve("one-more.test");
  names.resolve("n0.test");
  EXPECT_EQ(times_asked(), 2);
}

TEST(Resolver, AsksAgainOverTcpWhereTheAnswerWasTruncated) {
  Names names([](const Asked& asked) {
    if (!asked.tcp) return Replies{reply(asked, {}, {.truncated = true})};
    std::string many;
    for (int i = 1; i <= 200; ++i) many += fmt::format("192.0.2.{} ", i);
    return Replies{addresses(asked, many)};
  });
  const std::string found = names.resolve("a.test");
  EXPECT_EQ(std::count(found.begin(), found.end(), ' ') + 1, 16) << "not cut to 16 addresses";
  EXPECT_THAT(names.asked(), testing::Contains("a.test A tcp"));
}

}  // namespace
}  // namespace sluice::proxy
