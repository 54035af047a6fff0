// Many questions at once, those who give them up, and sockets that cannot be made.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "tests/loopback/resolving.h"

namespace sluice::proxy {
namespace {

using namespace asio::experimental::awaitable_operators;

TEST(Resolver, AsksOnceForANameThatManyAskForAtOnce) {
  Names names(everywhere("192.0.2.1"));
  std::vector<std::shared_ptr<Names::Waiting>> all;
  for (int i = 0; i < 100; ++i) all.push_back(names.begin("a.test"));
  names.run_until([&] {
    return std::all_of(all.begin(), all.end(),
                       [](const auto& one) { return one->resolution.has_value(); });
  });
  for (const auto& one : all) EXPECT_EQ(Names::shown(*one->resolution), "192.0.2.1");
  EXPECT_EQ(names.asked().size(), 2U);
}

TEST(Resolver, BoundsTheNamesThatAnAgentAsksForAtOnceAndNobodyElses) {
  Names names([](const Asked& asked) {
    if (asked.name == "quick.test") return Replies{addresses(asked, "192.0.2.1")};
    return Replies{};
  });
  for (unsigned i = 0; i < Resolver::most_of_agent; ++i) {
    // Whoever gives up still counts: its question is on its way.
    names.begin(fmt::format("n{}.test", i))->give_up.now();
    const auto kept = names.begin(fmt::format("n{}.test", i));
    names.io.poll();
    EXPECT_FALSE(kept->resolution.has_value());
  }
  const auto refused_one = names.begin("quick.test");
  names.run_until([&] { return refused_one->resolution.has_value(); });
  EXPECT_EQ(Names::shown(*refused_one->resolution), "rate_limit");
  EXPECT_EQ(refused_one->resolution->why, "64 other names of this agent are being resolved");
  // The same name as one on its way costs nothing.
  const auto same = names.begin("n0.test");
  names.io.poll();
  EXPECT_FALSE(same->resolution.has_value());
  EXPECT_EQ(names.resolve("quick.test", "coder-2"), "192.0.2.1");
}

TEST(Resolver, AsksAgainForAnAgentWhoseQuestionsHaveEnded) {
  Names names(everywhere("192.0.2.1"));
  for (unsigned i = 0; i < 2 * Resolver::most_of_agent; ++i) {
    EXPECT_EQ(names.resolve(fmt::format("n{}.test", i)), "192.0.2.1");
  }
}

TEST(Resolver, BoundsTheNamesOfAllAgentsTogether) {
  Names names(silence);
  const unsigned agents = Resolver::most_of_all / Resolver::most_of_agent;
  std::vector<std::shared_ptr<Names::Waiting>> all;
  for (unsigned agent = 0; agent < agents; ++agent) {
    for (unsigned i = 0; i < Resolver::most_of_agent; ++i) {
      all.push_back(names.begin(fmt::format("n{}-{}.test", agent, i), std::to_string(agent)));
    }
  }
  names.io.poll();
  EXPECT_TRUE(std::none_of(all.begin(), all.end(),
                           [](const auto& one) { return one->resolution.has_value(); }));
  const auto refused_one = names.begin("one-more.test", "late");
  names.run_until([&] { return refused_one->resolution.has_value(); });
  EXPECT_EQ(Names::shown(*refused_one->resolution), "dns_failed");
  EXPECT_EQ(refused_one->resolution->why, "too many names are being resolved");
}

TEST(Resolver, EndsAWaitThatIsGivenUpAtOnceAndStillLearns) {
  bool answers = false;
  Names names(
      [&](const Asked& asked) {
        return answers ? Replies{addresses(asked, "192.0.2.1")} : Replies{};
      },
      9s);  // asks again after 3 s
  const auto patient = names.begin("a.test");
  const auto hasty = names.begin("a.test");
  names.run_until([&] { return names.asked().size() >= 2; });
  hasty->give_up.now();
  names.run_until([&] { return hasty->resolution.has_value(); });
  EXPECT_EQ(Names::shown(*hasty->resolution), "dns_failed");
  EXPECT_FALSE(patient->resolution.has_value());
  answers = true;
  names.run_until([&] { return patient->resolution.has_value(); });
  EXPECT_EQ(Names::shown(*patient->resolution), "192.0.2.1");
}

TEST(Resolver, CallsNobodyWhoseWaitWasCancelledOrDestroyed) {
  bool answers = false;
  auto names = std::make_unique<Names>(
      [&](const Asked& asked) {
        return answers ? Replies{addresses(asked, "192.0.2.1")} : Replies{};
      },
      6s);
  bool over = false;
  const auto give_up_soon = [&]() -> Task<void> {
    Timer timer(names->io, 100ms);
    Question question{"a.test", "coder-1"};
    const auto first =
        co_await (names->resolver->resolve(std::move(question)) || timer.async_wait(AsTask()));
    EXPECT_EQ(first.index(), 1U);
    over = true;
  };
  spawn(names->io, give_up_soon());
  names->run_until([&] { return over; });
  answers = true;
  EXPECT_EQ(names->resolve("a.test"), "192.0.2.1");
  // What still waits goes with its thread, the resolver first, as a worker does.
  answers = false;
  const auto lost = names->begin("b.test");
  names->run_until([&] { return names->asked().size() >= 3; });
  names->resolver.reset();
  names.reset();
  EXPECT_FALSE(lost->resolution.has_value());
}

TEST(Resolver, SurvivesThatItsSocketsCannotBeMade) {
  Names names(everywhere("192.0.2.1"), 9s);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const std::string without = names.resolve("a.test");
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(without, testing::AnyOf("dns_failed", "dns_timeout"));
  EXPECT_EQ(names.resolve("a.test"), "192.0.2.1");
}

}  // namespace
}  // namespace sluice::proxy
