#include "proxy/egress/resolver.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/write.hpp>
#include <map>
#include <sstream>

#include "proxy/daemon/spawn.h"
#include "tests/loopback/patience.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint16_t type_a = 1;
constexpr std::uint16_t type_cname = 5;
constexpr std::uint16_t type_aaaa = 28;

std::string number16(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

std::string encoded(std::string_view name) {
  std::string bytes;
  std::istringstream labels{std::string(name)};
  for (std::string label; std::getline(labels, label, '.');) {
    bytes += static_cast<char>(label.size()) + label;
  }
  return bytes + '\0';
}

struct Asked {
  std::string bytes;  // the whole message
  std::string name;
  std::uint16_t type = 0;
  bool tcp = false;
};

// RFC 1035 4.1, of one question.
Asked read_question(std::string bytes, bool tcp) {
  Asked asked{.bytes = std::move(bytes), .tcp = tcp};
  std::size_t at = 12;
  while (asked.bytes[at] != 0) {
    const auto size = static_cast<std::size_t>(asked.bytes[at]);
    asked.name += (asked.name.empty() ? "" : ".") + asked.bytes.substr(at + 1, size);
    at += 1 + size;
  }
  asked.type = static_cast<std::uint16_t>(static_cast<unsigned char>(asked.bytes[at + 2]));
  return asked;
}

std::string record(std::string_view name, std::uint16_t type, const std::string& data,
                   unsigned ttl = 60) {
  return encoded(name) + number16(type) + number16(1) + number16(0) + number16(ttl) +
         number16(static_cast<unsigned>(data.size())) + data;
}

std::string address_record(std::string_view name, std::string_view address, unsigned ttl = 60) {
  const auto parsed = IpAddress::parse(address).value();
  const std::string data(reinterpret_cast<const char*>(parsed.bytes().data()),
                         parsed.is_v4() ? 4 : 16);
  return record(name, parsed.is_v4() ? type_a : type_aaaa, data, ttl);
}

struct Flags {
  unsigned code = 0;
  bool truncated = false;
  unsigned id_change = 0;
};

std::string reply(const Asked& asked, const std::vector<std::string>& records, Flags flags = {}) {
  const std::string question = asked.bytes.substr(12, encoded(asked.name).size() + 4);
  std::string bytes = asked.bytes.substr(0, 2);
  bytes[0] = static_cast<char>(bytes[0] ^ flags.id_change);
  bytes += number16(0x8180 | flags.code | (flags.truncated ? 0x0200 : 0)) + number16(1) +
           number16(static_cast<unsigned>(records.size())) + number16(0) + number16(0) + question;
  for (const std::string& one : records) bytes += one;
  return bytes;
}

// Addresses of the family that was asked for.
std::string addresses(const Asked& asked, const std::string& list, unsigned ttl = 60) {
  std::vector<std::string> records;
  std::istringstream words(list);
  for (std::string word; words >> word;) {
    const bool v6 = word.find(':') != std::string::npos;
    if (v6 == (asked.type == type_aaaa)) {
      records.push_back(address_record(asked.name, word, ttl));
    }
  }
  return reply(asked, records);
}

using Replies = std::vector<std::string>;
using Zone = std::function<Replies(const Asked&)>;

// Speaks UDP and TCP on one port of a loopback address.
class DnsServer {
 public:
  DnsServer(asio::io_context& io, const char* address, Zone zone)
      : io_(io),
        zone_(std::move(zone)),
        tcp_(io, TcpEndpoint(asio::ip::make_address(address), 0)),
        udp_(io, asio::ip::udp::endpoint(tcp_.local_endpoint().address(),
                                         tcp_.local_endpoint().port())) {
    spawn(io_, serve_udp());
    spawn(io_, serve_tcp());
  }
  NameServer where() const {
    return {from_asio(tcp_.local_endpoint().address()), tcp_.local_endpoint().port()};
  }
  std::vector<std::string> asked;  // "name A udp"

 private:
  Replies answer(const Asked& question) {
    asked.push_back(fmt::format("{} {} {}", question.name, question.type == type_a ? "A" : "AAAA",
                                question.tcp ? "tcp" : "udp"));
    return zone_(question);
  }
  Task<void> serve_udp() {
    for (;;) {
      std::string packet(4096, '\0');
      asio::ip::udp::endpoint from;
      const auto [error, size] = co_await udp_.async_receive_from(asio::buffer(packet), from);
      if (error) co_return;
      packet.resize(size);
      const Asked question = read_question(std::move(packet), false);
      const Replies replies = answer(question);
      for (const std::string& one : replies) {
        co_await udp_.async_send_to(asio::buffer(one), from);
      }
    }
  }
  Task<void> serve_tcp() {
    for (;;) {
      auto [error, socket] = co_await tcp_.async_accept();
      if (error) co_return;
      spawn(io_, serve_connection(std::move(socket)));
    }
  }
  static Task<bool> fill(Socket& socket, std::string& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const auto [error, size] =
          co_await socket.async_read_some(asio::buffer(bytes.data() + done, bytes.size() - done));
      if (error) co_return false;
      done += size;
    }
    co_return true;
  }
  Task<void> serve_connection(Socket socket) {
    for (;;) {
      std::string prefix(2, '\0');
      const bool prefix_came = co_await fill(socket, prefix);
      if (!prefix_came) co_return;
      const auto size = std::size_t{static_cast<unsigned char>(prefix[0])} << 8 |
                        static_cast<unsigned char>(prefix[1]);
      std::string packet(size, '\0');
      const bool packet_came = co_await fill(socket, packet);
      if (!packet_came) co_return;
      const Asked question = read_question(std::move(packet), true);
      const Replies replies = answer(question);
      for (const std::string& one : replies) {
        const std::string framed = number16(static_cast<unsigned>(one.size())) + one;
        co_await asio::async_write(socket, asio::buffer(framed), Token());
      }
    }
  }

  asio::io_context& io_;
  Zone zone_;
  Acceptor tcp_;
  UdpSocket udp_;
};

// One resolver and the name servers it was told of.
class Names {
 public:
  explicit Names(std::vector<Zone> zones, std::chrono::milliseconds timeout = far_away) {
    auto settings = std::make_shared<ResolverSettings>();
    settings->timeout = timeout;
    for (Zone& zone : zones) {
      servers.push_back(std::make_unique<DnsServer>(io, "127.0.0.1", std::move(zone)));
      settings->servers.push_back(servers.back()->where());
    }
    resolver = std::move(*Resolver::create(io, settings));
  }
  explicit Names(Zone zone, std::chrono::milliseconds timeout = far_away)
      : Names(std::vector<Zone>{std::move(zone)}, timeout) {}

  struct Waiting {
    std::optional<Resolution> resolution;
    GiveUp give_up;
  };

  std::shared_ptr<Waiting> begin(std::string name, std::string agent = "coder-1") {
    auto waiting = std::make_shared<Waiting>();
    Question question{std::move(name), std::move(agent), &waiting->give_up};
    spawn(io, wait(std::move(question), waiting));
    return waiting;
  }
  template <class Condition>
  void run_until(Condition condition) {
    EXPECT_TRUE(proxy::run_until(io, condition)) << "it did not end";
  }
  // "192.0.2.1 2001:db8::1", or the reason for none.
  std::string resolve(const std::string& name, const std::string& agent = "coder-1") {
    const auto waiting = begin(name, agent);
    run_until([&] { return waiting->resolution.has_value(); });
    return shown(*waiting->resolution);
  }
  static std::string shown(const Resolution& resolution) {
    std::string text;
    for (const IpAddress& address : resolution.addresses) {
      text += (text.empty() ? "" : " ") + address.to_string();
    }
    return text.empty() ? std::string(reason_name(resolution.failure)) : text;
  }
  const std::vector<std::string>& asked(std::size_t server = 0) const {
    return servers.at(server)->asked;
  }

  asio::io_context io;
  std::vector<std::unique_ptr<DnsServer>> servers;
  std::unique_ptr<Resolver> resolver;

 private:
  Task<void> wait(Question question, std::shared_ptr<Waiting> waiting) {
    Resolution resolution = co_await resolver->resolve(std::move(question));
    waiting->resolution = std::move(resolution);
  }
};

Zone everywhere(const std::string& list, unsigned ttl = 60) {
  return [=](const Asked& asked) { return Replies{addresses(asked, list, ttl)}; };
}
Replies silence(const Asked&) { return {}; }
Zone fails_with(unsigned code) {
  return [=](const Asked& asked) { return Replies{reply(asked, {}, {.code = code})}; };
}
constexpr unsigned servfail = 2;
constexpr unsigned nxdomain = 3;
constexpr unsigned refused = 5;

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
