// What happens at each bound of a connection that the policy does not set: see docs/limits.md.
#include <gmock/gmock.h>

#include "proxy/session/dns.h"
#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using netns::Role;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr std::string_view half_hello{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11};

std::string get(std::uint16_t port, std::string_view more = "") {
  return fmt::format("GET http://allowed.test:{0}/x HTTP/1.1\r\nHost: allowed.test:{0}\r\n{1}\r\n",
                     port, more);
}

// Answers a whole request with `reply`.
Bench::AnswerTo answers(std::string reply) {
  return [reply = std::move(reply)](const std::string& so_far) -> std::optional<std::string> {
    if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
    return reply;
  };
}

std::string allow_on(std::uint16_t port) {
  return allow_host("allowed.test", port) + allow_loopback(port);
}

std::uint64_t denied(const Bench& bench, Reason reason) {
  return bench.totals().denied[static_cast<std::size_t>(reason)];
}

TEST(Bounds, OfTheFirstByteEndConnectionsThatSayNothingOnEveryEntrance) {
  for (const Role role : {Role::proxy, Role::dns_tcp, Role::tproxy4}) {
    Reloading bench;
    bench.shared.timeouts.first_byte = 200ms;
    EXPECT_EQ(bench.talk(role, ""), "");
  }
}

TEST(Bounds, OfTheFirstByteEndHalfAGreetingAndHalfADnsQuestion) {
  for (const auto& [role, bytes] : {std::pair(Role::proxy, std::string("\x05\x03\x00", 3)),
                                    std::pair(Role::dns_tcp, std::string("\x00\x20\xbe", 3))}) {
    Reloading bench;
    bench.shared.timeouts.first_byte = 200ms;
    EXPECT_EQ(bench.talk(role, bytes), "");
  }
}

TEST(Bounds, OfTheFirstByteAnswerHalfAClientHelloWithAnAlert) {
  Reloading bench;
  bench.shared.timeouts.first_byte = 200ms;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(allow_on(port));
  const std::string heard = bench.talk(
      Role::proxy, Reloading::connect_line("allowed.test", port) + std::string(half_hello));
  EXPECT_THAT(heard, HasSubstr("\r\n\r\n\x15\x03"));
  EXPECT_EQ(bench.origin_heard(), "");
  EXPECT_EQ(denied(bench, Reason::deadline), 1U);
}

TEST(Bounds, OfAHeadAnswer408) {
  Reloading bench;
  bench.shared.timeouts.headers = 200ms;
  const std::string heard =
      bench.talk(Role::proxy, "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n");
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(heard, HasSubstr("details=\"deadline\""));
  EXPECT_EQ(denied(bench, Reason::deadline), 1U);
}

TEST(Bounds, OfIdlenessEndAKeptConnectionWithoutAWord) {
  Reloading bench;
  const auto answer = answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  const std::uint16_t port = bench.origin([&](const std::string& so_far) {
    auto reply = answer(so_far);
    if (reply) bench.shared.timeouts.idle = 200ms;
    return reply;
  });
  bench.swap(allow_on(port));
  const std::string heard = bench.talk(Role::proxy, get(port));
  EXPECT_THAT(heard, testing::EndsWith("\r\n\r\nok"));
  EXPECT_EQ(bench.totals().allowed, 1U);
  EXPECT_EQ(denied(bench, Reason::deadline), 0U);
}

TEST(Bounds, OfIdlenessEndATunnelAndSaySoInTheMetric) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(allow_on(port));
  const auto client = bench.tunnel("allowed.test", port, "\x01one");
  bench.shared.timeouts.idle = 200ms;
  asio::write(client->socket, asio::buffer("\x02", 1));
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"idle\"} 1"));
  EXPECT_EQ(bench.audit_lines().back()["reason"], "listed");
}

TEST(Bounds, OfIdlenessAnswerARequestWhoseOriginSaysNothing) {
  Reloading bench;
  bench.shared.timeouts.idle = 200ms;
  const std::uint16_t port = bench.origin([](const std::string&) { return std::nullopt; });
  bench.swap(allow_on(port));
  EXPECT_THAT(bench.talk(Role::proxy, get(port)), StartsWith("HTTP/1.1 50"));
}

TEST(Bounds, OfAnOriginsHeadAnswer502) {
  std::string many;
  for (int i = 0; i < 129; ++i) many += fmt::format("X-{}: y\r\n", i);
  for (const std::string& fields : {"X: " + std::string(70'000, 'x') + "\r\n", many}) {
    Reloading bench;
    const std::uint16_t port =
        bench.origin(answers("HTTP/1.1 200 OK\r\n" + fields + "Content-Length: 0\r\n\r\n"));
    bench.swap(allow_on(port));
    const std::string heard = bench.talk(Role::proxy, get(port, "Connection: close\r\n"));
    EXPECT_THAT(heard, StartsWith("HTTP/1.1 502 "));
    EXPECT_THAT(heard, HasSubstr("details=\"unreachable\""));
  }
}

TEST(Bounds, OfAnAgentsHeadAnswer431) {
  Reloading bench;
  bench.shared.limits.header_bytes = 1024;
  bench.shared.limits.headers = 4;
  const std::uint16_t port = bench.origin(
      answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), true);
  bench.swap(allow_on(port));
  const std::size_t plain = get(port, "Connection: close\r\nX: \r\n").size();
  const auto padded = [&](std::size_t size) {
    return get(port, "Connection: close\r\nX: " + std::string(size - plain, 'x') + "\r\n");
  };
  EXPECT_THAT(bench.talk(Role::proxy, padded(1024)), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(bench.talk(Role::proxy, padded(1025)), StartsWith("HTTP/1.1 431 "));
  const std::string four = "Connection: close\r\nA: 1\r\nB: 1\r\n";
  EXPECT_THAT(bench.talk(Role::proxy, get(port, four)), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(bench.talk(Role::proxy, get(port, four + "C: 1\r\n")), StartsWith("HTTP/1.1 431 "));
  EXPECT_EQ(denied(bench, Reason::header_too_large), 2U);
}

TEST(Bounds, OfWhatIsReadAfterARefusalCutAnAgentThatSendsOn) {
  Reloading bench;
  const std::string head =
      "POST http://other.test/ HTTP/1.1\r\nHost: other.test\r\nContent-Length: 99000000\r\n\r\n";
  const std::string heard = bench.talk(Role::proxy, head + std::string(40'000'000, 'x'));
  EXPECT_THAT(heard, testing::AnyOf(IsEmpty(), StartsWith("HTTP/1.1 403 ")));
  EXPECT_EQ(denied(bench, Reason::not_listed), 1U);
}

TEST(Bounds, OfAnAuditLineCutWhatTheAgentSpelled) {
  Reloading bench;
  bench.talk(Role::proxy, fmt::format("GET http://other.test/{} HTTP/1.1\r\nHost: other.test\r\n"
                                      "Connection: close\r\n\r\n",
                                      std::string(5000, 'p')));
  bench.talk(Role::proxy, fmt::format("CONNECT {}:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
                                      std::string(5000, 'h')));
  const auto lines = bench.audit_lines();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_THAT(lines[0]["path"].get<std::string>(), SizeIs(512));
  EXPECT_THAT(lines[1]["host"].get<std::string>(), SizeIs(512));
}

TEST(Bounds, OfWhatIsToldLeaveAFloodOfDenialsReadable) {
  Reloading bench;
  std::string requests;
  for (int i = 0; i < 300; ++i)
    requests += fmt::format("GET http://a{0}.test/ HTTP/1.1\r\nHost: a{0}.test\r\n\r\n", i);
  const auto began = Clock::now();
  bench.talk(Role::proxy,
             requests + "GET http://z.test/ HTTP/1.1\r\nHost: z.test\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(denied(bench, Reason::not_listed), 301U);
  const auto seconds = static_cast<std::size_t>((Clock::now() - began) / 1s) + 1;
  const auto told = bench.sentences();
  EXPECT_THAT(told, Not(IsEmpty()));
  EXPECT_LE(told.size(), 20 * seconds);
}

TEST(Bounds, OfWhatIsToldLeaveOutASentenceThatWasJustSaid) {
  Reloading bench;
  const std::string request = "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n";
  std::string requests = request;
  for (int i = 0; i < 5; ++i) requests += request;
  const auto began = Clock::now();
  const auto client = bench.say(requests);
  bench.run_until([&] { return denied(bench, Reason::not_listed) == 6; });
  const auto again = static_cast<std::size_t>((Clock::now() - began) / 2s);
  EXPECT_THAT(bench.sentences(), SizeIs(testing::AllOf(testing::Ge(1U), testing::Le(1 + again))));
  client->socket.close();
  bench.run_until_idle();
}

TEST(Bounds, OfNamesAnswerServfailAndKeepThoseThatWereGiven) {
  Reloading bench("      - {host: \"*.wild.test\"}\n");
  const auto ask = [&](const std::string& label) {
    const std::string question =
        std::string("\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12) +
        static_cast<char>(label.size()) + label +
        std::string("\x04wild\x04test\x00\x00\x01\x00\x01", 15);
    const std::string answer =
        answer_dns(*bench.worker, bench.agent, wire::as_octets(question), wire::DnsTransport::udp);
    return answer.size() < 4 ? -1 : answer[3] & 15;
  };
  for (std::size_t i = 0; i < SyntheticNames::max_names; ++i) {
    ASSERT_EQ(ask(fmt::format("n{}", i)), 0) << i;
    if (i % 64 == 0) bench.sentences();  // the peer reads what it is told
  }
  EXPECT_EQ(ask("one-more"), 2);
  EXPECT_EQ(ask("n0"), 0);
  EXPECT_TRUE(bench.shows("outcome=\"exhausted\"} 1"));
}

}  // namespace
}  // namespace sluice::proxy
