// Explicit listeners: who is let in, as whom, and that nothing else of a connection tells it.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "proxy/daemon/listeners.h"
#include "tests/loopback/listening.h"
#include "tests/loopback/wire_text.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view ok_end = "\r\n\r\nhello";

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; ++at) ++found;
  return found;
}

TEST(Listen, KnowsAnAgentByProxyAuthorizationAndNeverPassesItOn) {
  Listening bench(by_password());
  const std::string_view spellings[] = {"Proxy-Authorization", "proxy-authorization",
                                        "PROXY-AUTHORIZATION"};
  for (const std::string_view name : spellings) {
    const std::string field = fmt::format("{}: bAsIc {}\r\nConnection: Proxy-Authorization\r\n",
                                          name, base64("coder-3:right"));
    EXPECT_THAT(bench.talk_until(bench.get(field), ok_end), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
  bench.settle();
  EXPECT_EQ(bench.totals_of("coder-3").allowed, 3U);
  EXPECT_THAT(bench.origin_heard(), Not(HasSubstr(base64("coder-3:right"))));
  EXPECT_EQ(bench.origin_heard().find("uthorization"), std::string::npos);
}

TEST(Listen, AnswersEveryOtherCredentialWith407Or400AndReadsNothingBehindIt) {
  Listening bench(by_password());
  const struct {
    std::string field;
    std::string_view status;
  } cases[] = {
      {"", "407"},
      {basic("coder-3:wrong"), "407"},
      {basic("coder-3:"), "407"},
      {basic(":right"), "407"},
      {basic("coder-9:right"), "407"},
      {basic("coder-3 :right"), "407"},
      {basic("CODER-3:right"), "407"},
      {basic("coder-3:right:"), "407"},
      {basic("c\xc3\xb6"
             "der-3:right"),
       "407"},
      {basic("coder-3right"), "400"},
      {basic(std::string("coder-3:right\0", 14)), "400"},
      {basic(std::string(3000, 'a') + ":right"), "400"},
      {basic("coder-3:right") + basic("coder-3:right"), "400"},
      {basic("coder-3:wrong") + basic("coder-3:right"), "400"},
      {"Proxy-Authorization: Bearer " + base64("coder-3:right") + "\r\n", "407"},
      {"Proxy-Authorization: Basic\r\n", "400"},
      {"Proxy-Authorization : Basic " + base64("coder-3:right") + "\r\n", "400"},
      {"Authorization: Basic " + base64("coder-3:right") + "\r\n", "407"},
      {"X: y\r\n Proxy-Authorization: Basic " + base64("coder-3:right") + "\r\n", "400"},
  };
  unsigned host = 1;
  for (const auto& [field, status] : cases) {
    const std::string source = fmt::format("192.0.2.{}", ++host);
    const std::string behind = bench.get(basic("coder-3:right"));
    const std::string first[] = {bench.get(field), bench.connect(field),
                                 "POST" + bench.get(field).substr(3)};
    for (const std::string& request : first) {
      const std::string heard = bench.talk(request + behind, source);
      EXPECT_THAT(heard, StartsWith(fmt::format("HTTP/1.1 {} ", status))) << field;
      EXPECT_EQ(count(heard, "HTTP/1.1 "), 1U) << heard;
      EXPECT_THAT(heard, HasSubstr("Connection: close\r\n")) << field;
      if (status == "407") {
        EXPECT_THAT(heard, HasSubstr("Proxy-Authenticate: Basic realm=\"sluice\""));
      }
    }
  }
  bench.settle();
  EXPECT_EQ(bench.origin_connections(), 0);
  EXPECT_EQ(bench.totals_of("coder-3").allowed, 0U);
}

TEST(Listen, DoesNotTellAWrongPasswordFromAnUnknownUser) {
  Listening bench(by_password());
  const auto answer_to = [&](const std::string& request) {
    return without_time(bench.talk(request));
  };
  const std::string wrong = answer_to(bench.get(basic("coder-3:wrong")));
  EXPECT_EQ(wrong, answer_to(bench.get(basic("coder-9:wrong"))));
  EXPECT_EQ(wrong, answer_to(bench.get()));
  bench.settle();
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0]["error"], "wrong password for 'coder-3', from 127.0.0.1");
  EXPECT_EQ(lines[1]["error"], "unknown user name, from 127.0.0.1");
  EXPECT_EQ(lines[2]["error"], "no Proxy-Authorization, from 127.0.0.1");
  for (const auto& line : lines) {
    EXPECT_EQ(line["agent"], "(unidentified)");
    EXPECT_EQ(line["reason"], "auth_required");
    EXPECT_EQ(line["host"], "allowed.test");
    EXPECT_EQ(line["port"], bench.port);
  }
}

TEST(Listen, AsksEachRequestAnewAndNeverSharesAnOriginConnectionBetweenAgents) {
  Listening bench(by_password());
  const std::string three = bench.get(basic("coder-3:right"));
  const std::string four = bench.get(basic("coder-4:right"));
  const std::string heard = bench.talk(three + three + four + three + bench.get() + three);
  EXPECT_EQ(count(heard, "HTTP/1.1 200 OK\r\n"), 4U);
  EXPECT_EQ(count(heard, "HTTP/1.1 407 "), 1U);
  EXPECT_EQ(count(heard, "HTTP/1.1 "), 5U) << "nothing behind the 407 is read";
  bench.settle();
  EXPECT_GE(bench.origin_connections(), 2);
  EXPECT_EQ(bench.totals_of("coder-3").allowed, 3U);
  EXPECT_EQ(bench.totals_of("coder-4").allowed, 1U);
  EXPECT_EQ(bench.denied_to_nobody(Reason::auth_required), 1U);
}

TEST(Listen, LimitsWrongPasswordsOfAnAddressAndOfNoOther) {
  Listening bench(by_password());
  int refused = 0;
  int tried = 0;
  const auto began = Clock::now();
  for (; refused < 10 && tried < 1000; ++tried) {
    const std::string heard =
        bench.talk(bench.get(basic(fmt::format("coder-3:guess{}", tried))), "192.0.2.1");
    if (heard.starts_with("HTTP/1.1 429 ")) ++refused;
  }
  EXPECT_EQ(refused, 10);
  EXPECT_LE(tried - refused, 10 + (Clock::now() - began) / 2s) << "a new one each two seconds";
  const std::string right = bench.get(basic("coder-3:right"));
  EXPECT_THAT(bench.talk_until(right, ok_end, "192.0.2.2"), StartsWith("HTTP/1.1 200 "));
  bench.settle();
  EXPECT_EQ(bench.denied_to_nobody(Reason::rate_limit), std::uint64_t(refused));
}

TEST(Listen, DropsProxyAuthorizationUnreadWhereNobodyAskedForIt) {
  Listening bench(for_one());
  const std::string fields = basic("coder-3:right") + "Proxy-Authorization: ?!\r\n";
  EXPECT_THAT(bench.talk_until(bench.get(fields), ok_end), StartsWith("HTTP/1.1 200 OK\r\n"));
  bench.settle();
  EXPECT_EQ(bench.origin_heard().find("uthorization"), std::string::npos);
  EXPECT_EQ(bench.totals_of("coder-1").allowed, 1U);
}

TEST(Listen, CarriesATunnelBehindOnePassword) {
  Listening bench(by_password());
  const std::string heard =
      bench.talk_until(bench.connect(basic("coder-4:right")) + "\x01 early", "\x01 early");
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 200 Connection Established\r\n"));
  bench.settle();
  EXPECT_EQ(bench.totals_of("coder-4").allowed, 1U);
}

std::string socks_to(std::string_view host, std::uint16_t port) {
  std::string bytes("\x05\x01\x00\x03", 4);
  bytes += static_cast<char>(host.size());
  bytes += host;
  bytes += static_cast<char>(port >> 8);
  return bytes + static_cast<char>(port & 0xff);
}

std::string socks_login(std::string_view user, std::string_view password) {
  std::string bytes("\x05\x01\x02\x01", 4);
  bytes += static_cast<char>(user.size());
  bytes += user;
  bytes += static_cast<char>(password.size());
  return bytes.append(password);
}

TEST(Listen, KnowsAnAgentBySocksUserAndPassword) {
  Listening bench(by_password());
  const std::string heard = bench.talk_until(
      socks_login("coder-3", "right") + socks_to("allowed.test", bench.port) + "\x01hello",
      "hello");
  EXPECT_THAT(heard, StartsWith(std::string("\x05\x02\x01\x00\x05\x00", 6)));
  bench.settle();
  EXPECT_EQ(bench.totals_of("coder-3").allowed, 1U);
}

TEST(Listen, RefusesSocksClientsWithoutTheRightPasswordByOneByteOfStatus) {
  Listening bench(by_password());
  const std::string target = socks_to("allowed.test", bench.port);
  const std::string wrong[] = {socks_login("coder-3", "wrong"),
                               socks_login("coder-9", "right"),
                               socks_login("", "right"),
                               socks_login("coder-3", ""),
                               socks_login("coder-3", std::string("right\0", 6)),
                               socks_login(std::string(255, 'a'), std::string(255, 'b'))};
  for (const std::string& login : wrong) {
    EXPECT_EQ(bench.talk(login + target), std::string("\x05\x02\x01\x01", 4));
  }
  EXPECT_EQ(bench.talk(std::string("\x05\x01\x00", 3) + target), "\x05\xff");
  bench.settle();
  EXPECT_EQ(bench.origin_connections(), 0);
  EXPECT_GE(bench.denied_to_nobody(Reason::auth_required), 4U);
}

TEST(Listen, AnswersSocks4WithItsOwnErrorAndALineInTheAccount) {
  Listening bench(for_one());
  EXPECT_EQ(bench.talk(std::string("\x04\x01\x00\x50\x00\x00\x00\x01\x00", 9)),
            std::string("\x00\x5b\x00\x00\x00\x00\x00\x00", 8));
  bench.settle();
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["agent"], "coder-1");
  EXPECT_EQ(lines[0]["reason"], "bad_request");
}

TEST(Listen, KnowsAnAgentByTheLongestRangeThatHasItsAddress) {
  Listening bench(by_source());
  const std::pair<std::string_view, std::string> cases[] = {
      {"10.1.0.7", "coder-2"}, {"10.1.0.8", "coder-lan"}, {"2001:db8::9", "coder-6"}};
  for (const auto& [source, name] : cases) {
    EXPECT_THAT(bench.talk_until(bench.get(), ok_end, source), StartsWith("HTTP/1.1 200 "));
    bench.settle();
    EXPECT_EQ(bench.totals_of(name).allowed, 1U) << source;
  }
}

TEST(Listen, RefusesAnUnknownAddressInTheProtocolItSpeaks) {
  Listening bench(by_source());
  for (const std::string& request : {bench.get(), bench.connect()}) {
    EXPECT_THAT(bench.talk(request + bench.get(), "10.1.1.7"),
                AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr("details=\"unknown_agent\""),
                      HasSubstr("does not know whose request it is"),
                      HasSubstr("no agent has the address 10.1.1.7")));
  }
  const std::string socks = std::string("\x05\x01\x00", 3) + socks_to("allowed.test", bench.port);
  EXPECT_THAT(bench.talk(socks, "10.1.1.7"), StartsWith(std::string("\x05\x00\x05\x02", 4)));
  bench.settle();
  EXPECT_EQ(bench.denied_to_nobody(Reason::unknown_agent), 3U);
  for (const auto& line : bench.audit_lines()) {
    EXPECT_EQ(line["agent"], "(unidentified)");
    EXPECT_EQ(line["host"], "allowed.test");
    EXPECT_EQ(line["port"], bench.port);
  }
}

TEST(Listen, TurnsOutWhoeverWaitsWithTooManyConnectionsAndNobodyElse) {
  Listening bench(by_password(), {.connections_per_agent = 16});
  bench.shared.timeouts.first_byte = 60s;
  std::vector<std::shared_ptr<Client>> silent;
  for (int i = 0; i < 4; ++i) silent.push_back(bench.say("", "192.0.2.1"));
  EXPECT_EQ(bench.talk(bench.get(basic("coder-3:right")), "192.0.2.1"), "");
  EXPECT_THAT(bench.talk_until(bench.get(basic("coder-3:right")), ok_end, "192.0.2.2"),
              StartsWith("HTTP/1.1 200 "));
  silent.front()->socket.close();
  bench.run_until([&] { return bench.agents.nobody()->sessions == 3; });
  EXPECT_THAT(bench.talk_until(bench.get(basic("coder-3:right")), ok_end, "192.0.2.1"),
              StartsWith("HTTP/1.1 200 "));
  // A /64 of IPv6 is one source.
  for (int i = 1; i <= 4; ++i) silent.push_back(bench.say("", fmt::format("2001:db8::{}", i)));
  EXPECT_EQ(bench.talk(bench.get(basic("coder-3:right")), "2001:db8::ffff"), "");
  EXPECT_EQ(bench.denied_to_nobody(Reason::connection_limit), 2U);
  for (const auto& client : silent) client->socket.close();
  bench.settle();
}

TEST(Listen, OutlivesThousandsOfConnectionsThatShowNothing) {
  Listening bench(by_password(), {.connections_per_agent = 64});
  bench.shared.timeouts.first_byte = 60s;
  const auto before = open_descriptors();
  {
    std::vector<std::shared_ptr<Client>> silent;
    for (int i = 0; i < 2000; ++i) {
      auto client = bench.say("G", "192.0.2.1");
      // Those who are turned out are gone; the others stay.
      if (i < 16) silent.push_back(std::move(client));
    }
    EXPECT_EQ(bench.agents.nobody()->sessions, 16);
    EXPECT_THAT(bench.talk_until(bench.get(basic("coder-3:right")), ok_end, "192.0.2.2"),
                StartsWith("HTTP/1.1 200 "));
    for (const auto& client : silent) client->socket.close();
    bench.settle();
  }
  bench.worker->origins.drop(nullptr);
  bench.run_until([&] { return open_descriptors() <= before + 2; });
  EXPECT_EQ(bench.denied_to_nobody(Reason::connection_limit), 2000U - 16U);
}

TEST(Listen, GivesWhoShowsNothingOnlyTheDeadlines) {
  Listening bench(by_password());
  bench.shared.timeouts.first_byte = 300ms;
  bench.shared.timeouts.headers = 300ms;
  EXPECT_EQ(bench.talk(""), "");
  EXPECT_THAT(bench.talk("GET http://allowed.test/"), StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(bench.talk(std::string("\x05\x01\x02\x01\x07", 5)), std::string("\x05\x02", 2));
  bench.settle();
}

TEST(Listen, RefusesConnectionsOfAnAgentThatHasAllItMayHave) {
  Listening bench(by_source(), {.connections_per_agent = 1});
  const auto open = bench.say(bench.connect() + "\x01hello", "10.1.0.7");
  bench.run_until([&] { return open->heard.ends_with("hello"); });
  EXPECT_THAT(bench.talk(bench.get(), "10.1.0.7"),
              AllOf(StartsWith("HTTP/1.1 429 "), HasSubstr("details=\"connection_limit\""),
                    HasSubstr("agent 'coder-2'")));
  EXPECT_THAT(bench.talk_until(bench.get(), ok_end, "10.1.0.8"), StartsWith("HTTP/1.1 200 "));
  open->socket.close();
  bench.settle();
}

TEST(Listen, LeavesTheLimitOfAnAgentThatShowsAPasswordToThatAgent) {
  Listening bench(by_password(), {.connections_per_agent = 1});
  const auto open = bench.say(bench.connect(basic("coder-3:right")) + "\x01hello");
  bench.run_until([&] { return open->heard.ends_with("hello"); });
  EXPECT_THAT(bench.talk(bench.get(basic("coder-3:right"))), StartsWith("HTTP/1.1 429 "));
  EXPECT_THAT(bench.talk_until(bench.get(basic("coder-4:right")), ok_end),
              StartsWith("HTTP/1.1 200 "));
  open->socket.close();
  bench.settle();
  EXPECT_EQ(bench.totals_of("coder-3").denied[static_cast<std::size_t>(Reason::connection_limit)],
            1U);
}

TEST(Listen, CutsWhatANewPolicyDeniesAndLeavesTheRest) {
  Listening bench(by_password());
  const auto open = bench.say(bench.connect(basic("coder-3:right")) + "\x01hello");
  bench.run_until([&] { return open->heard.ends_with("hello"); });
  bench.agents.set_policy(bench.allowing("allowed.test"));
  bench.worker->review_sessions();
  asio::write(open->socket, asio::buffer(std::string_view("again")));
  bench.run_until([&] { return open->heard.ends_with("again"); });
  bench.agents.set_policy(bench.allowing("other.test"));
  bench.worker->review_sessions();
  bench.run_until([&] { return open->ended; });
  EXPECT_EQ(open->end, asio::error::connection_reset);
  bench.settle();
}

TEST(Listen, LeavesNothingBehindWhenItEndsWithConnectionsInEveryState) {
  const auto before = open_descriptors();
  {
    Listening bench(by_password());
    const std::string right = basic("coder-3:right");
    const auto kept = bench.say(bench.get(right));
    const auto tunnel = bench.say(bench.connect(right) + "\x01hello");
    bench.run_until(
        [&] { return kept->heard.ends_with(ok_end) && tunnel->heard.ends_with("hello"); });
    std::vector<std::shared_ptr<Client>> others;
    for (const std::string_view begun : {"", "GET http://allowed.test/", "\x05\x01\x02"}) {
      others.push_back(bench.say(begun));
    }
    // These wait for the verifier.
    for (int i = 0; i < 40; ++i) {
      others.push_back(bench.say(bench.get(basic(fmt::format("coder-4:guess{}", i))),
                                 fmt::format("192.0.2.{}", i + 1)));
    }
    bench.worker->io.poll();
    EXPECT_GT(bench.agents.sessions(), 4);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Listen, HoldsNoPartOfAnAnswerBackForADelayedAck) {
  const auto listener = listen_on({IpAddress::v4(0x7f000001), 0});
  ASSERT_TRUE(listener);
  sockaddr_in at{};
  socklen_t size = sizeof(at);
  ASSERT_EQ(::getsockname(listener->get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&at), size), 0);
  ASSERT_TRUE(can_be_read(listener->get(), patience));
  const Fd accepted(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted);
  int set = 0;
  size = sizeof(set);
  ASSERT_EQ(::getsockopt(accepted.get(), IPPROTO_TCP, TCP_NODELAY, &set, &size), 0);
  EXPECT_NE(set, 0);
}

}  // namespace
}  // namespace sluice::proxy
