// A policy that changes while connections are open: what it no longer allows is cut, the rest is
// not touched.
#include <gmock/gmock.h>

#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// A ClientHello with this SNI, and the ECH extension (0xfe0d) if asked for.
std::string client_hello(std::string_view name, bool ech = false) {
  const auto u16 = [](std::size_t n) {
    return std::string{static_cast<char>(n >> 8), static_cast<char>(n)};
  };
  const std::string entry = std::string(1, '\0') + u16(name.size()) + std::string(name);
  const std::string list = u16(entry.size()) + entry;
  std::string extension = u16(0) + u16(list.size()) + list;
  if (ech) extension += std::string("\xfe\x0d") + u16(3) + std::string("\x00xx", 3);
  const std::string body = "\x03\x03" + std::string(32, 'r') + std::string(1, '\0') + u16(2) +
                           "\x13\x01" + std::string("\x01\x00", 2) + u16(extension.size()) +
                           extension;
  const std::string message = std::string("\x01\x00", 2) + u16(body.size()) + body;
  return "\x16\x03\x01" + u16(message.size()) + message;
}

TEST(Reload, CutsATunnelThatIsNoLongerAllowedAndDoesNotTouchTheOthers) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  const std::string kept = allow_host("allowed.test", port) + allow_loopback(port);
  bench.swap(allow_host("other.test", port) + kept);
  const auto stays = bench.tunnel("allowed.test", port, "\x01one");
  const auto goes = bench.tunnel("other.test", port, "\x01two");
  bench.swap(kept);
  bench.run_until([&] { return goes->ended; });
  EXPECT_EQ(goes->end, asio::error::connection_reset);
  EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"policy_changed\"} 1"));
  EXPECT_TRUE(bench.shows("agent=\"coder-1\",verdict=\"deny\",reason=\"policy_changed\"} 1"));
  asio::write(stays->socket, asio::buffer("\x02three", 6));
  bench.run_until([&] { return stays->heard.ends_with("\x02three"); });
  stays->socket.close();
  bench.run_until_idle();
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["host"], "other.test");
  EXPECT_EQ(lines[0]["verdict"], "deny");
  EXPECT_EQ(lines[0]["reason"], "policy_changed");
  EXPECT_EQ(lines[0]["rule"], "default");
  EXPECT_EQ(lines[0]["bytes_up"], 4);
  EXPECT_EQ(lines[0]["bytes_down"], 4);
  EXPECT_EQ(lines[0]["error"], "the new policy says not_listed");
  EXPECT_EQ(lines[1]["host"], "allowed.test");
  EXPECT_EQ(lines[1]["verdict"], "allow");
  EXPECT_EQ(lines[1]["rule"], "policy.yaml:7") << "as it was when the tunnel was allowed";
  EXPECT_THAT(bench.sentences(), ElementsAre(fmt::format(
                                     "the policy was changed and no longer allows other.test:{} to "
                                     "agent 'coder-1' (policy_changed): the new policy says "
                                     "not_listed; do not retry; if the task needs it, ask the "
                                     "operator",
                                     port)));
}

TEST(Reload, JudgesATunnelByNameAddressAndWhatWasSeenOfItsTls) {
  const struct {
    std::string before, after;
    std::string_view first;
    bool cut;
  } cases[] = {
      {"", "", "plain", false},
      {"", ", tls: \"off\"", "plain", false},
      {"", ", tls: require", "plain", true},
      {", tls: \"off\"", ", tls: \"off\"", "plain", false},
      {", tls: \"off\"", ", tls: match", "plain", true},  // nobody looked
      {", tls: \"off\"", ", tls: require", "tls", true},
      {"", ", tls: require", "tls", false},
      {", tls: require", "", "tls", false},
      {"", ", ech: deny", "tls", false},
      {"", ", ech: deny", "ech", true},
      {", ech: deny", ", tls: \"off\"", "tls", false},
      {"", "other port", "plain", true},
      {"", "no cidr", "plain", true},
      {"", "denied", "plain", true},
      {"", "never", "plain", true},
      {"", "no entry", "plain", true},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(fmt::format("'{}' -> '{}' with {}", test.before, test.after, test.first));
    Reloading bench;
    const std::uint16_t port = bench.origin(echo);
    const std::string all = allow_host("allowed.test", port) + allow_loopback(port);
    bench.swap(allow_host("allowed.test", port, test.before) + allow_loopback(port));
    const auto client = bench.tunnel(
        "allowed.test", port,
        test.first == "plain" ? "\x01hello" : client_hello("allowed.test", test.first == "ech"));
    std::string after =
        text_of(allow_host("allowed.test", port, test.after) + allow_loopback(port));
    if (test.after == "other port") {
      after = text_of(allow_host("allowed.test", 1) + allow_loopback(port));
    } else if (test.after == "no cidr") {
      after = text_of(allow_host("allowed.test", port));
    } else if (test.after == "denied") {
      after = text_of(all) + "    deny: [{cidr: 127.0.0.1}]\n";
    } else if (test.after == "never") {
      after = text_of(all) + "never: [{host: .allowed.test}]\n";
    } else if (test.after == "no entry") {
      after = "version: 1\nagents:\n  else-1: {allow: []}\n";
    }
    bench.swap(policy_of(after));
    ErrorCode cut;  // it may be so already
    asio::write(client->socket, asio::buffer("\x02more", 5), cut);
    bench.run_until([&] { return client->ended || client->heard.ends_with("\x02more"); });
    EXPECT_EQ(client->ended, test.cut);
    client->socket.close();
    bench.run_until_idle();
    EXPECT_EQ(bench.audit_lines().back()["reason"], test.cut ? "policy_changed" : "listed");
  }
}

TEST(Reload, ReviewsMoreConnectionsThanFitOneTurnAndBeginsAnewWhenItChangesAgain) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  const std::string all = allow_host("allowed.test", port) + allow_loopback(port);
  bench.swap(all);
  const auto first = bench.tunnel("allowed.test", port, "\x01one");
  std::vector<Socket> idle;
  for (int i = 0; i < 300; ++i) idle.push_back(bench.arrive());
  const auto last = bench.tunnel("allowed.test", port, "\x01two");
  const auto changed = policy_of(text_of(all + allow_host("more.test", 1)));
  bench.swap(changed);  // a round begins, and is overtaken
  bench.swap(allow_host("allowed.test", port));
  bench.run_until([&] { return first->ended && last->ended; });
  bench.run_until([&] { return bench.agent->sessions == 300; });
  EXPECT_EQ(changed.use_count(), 1) << "nobody holds what was overtaken";
  idle.clear();
  bench.run_until_idle();
}

TEST(Reload, CutsARequestThatWaitsForAnAnswerAndLetsTheOthersHaveTheirs) {
  Reloading bench;
  const auto reply = [](const std::string& so_far) -> std::optional<std::string> {
    if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
    return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst";
  };
  const std::uint16_t port = bench.origin(reply);
  const std::string kept = allow_host("allowed.test", port) + allow_loopback(port);
  bench.swap(allow_host("other.test", port) + kept);
  const auto get = [&](std::string_view host) {
    return bench.say(
        fmt::format("GET http://{0}:{1}/x HTTP/1.1\r\nHost: {0}:{1}\r\n\r\n", host, port));
  };
  const auto stays = get("allowed.test");
  const auto goes = get("other.test");
  bench.run_until(
      [&] { return stays->heard.ends_with("first") && goes->heard.ends_with("first"); });
  bench.swap(kept);
  bench.run_until([&] { return goes->ended; });
  EXPECT_EQ(goes->end, asio::error::connection_reset);
  EXPECT_FALSE(stays->ended);
  bench.worker->break_off(nullptr);
  bench.run_until_idle();
  const auto lines = bench.audit_lines();
  EXPECT_EQ(lines[0]["reason"], "policy_changed");
  EXPECT_EQ(lines[0]["method"], "GET");
  EXPECT_EQ(lines[0]["bytes_down"], goes->heard.size());
  EXPECT_EQ(lines[0]["error"], "the new policy says not_listed");
}

TEST(Reload, AsksTheGuardAgainBeforeAKeptOriginConnectionIsUsed) {
  for (const bool reviewed : {false, true}) {
    Reloading bench;
    const auto reply = [](const std::string& so_far) -> std::optional<std::string> {
      if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
      return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    };
    const std::uint16_t port = bench.origin(reply);
    const std::string request = fmt::format(
        "GET http://allowed.test:{0}/x HTTP/1.1\r\nHost: allowed.test:{0}\r\n\r\n", port);
    bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
    const auto client = bench.say(request);
    bench.run_until([&] { return client->heard.ends_with("ok"); });
    // Still allowed: the same connection to the origin.
    bench.swap(allow_host("allowed.test", port) + allow_loopback(port) + allow_host("a.test", 1));
    client->heard.clear();
    asio::write(client->socket, asio::buffer(request));
    bench.run_until([&] { return client->heard.ends_with("ok"); });
    EXPECT_EQ(bench.origin_connections(), 1);
    // The name is, its address is not.
    client->heard.clear();
    const auto closed = policy_of(text_of(allow_host("allowed.test", port)));
    if (reviewed) {
      bench.swap(closed);
      bench.run_for(20ms);
    } else {
      bench.agent->set_policy(closed);  // the review is still to come
    }
    asio::write(client->socket, asio::buffer(request));
    bench.run_until([&] { return client->heard.find("details") != std::string::npos; });
    EXPECT_THAT(client->heard, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
    EXPECT_THAT(client->heard, HasSubstr("details=\"address_private\""));
    EXPECT_FALSE(client->ended) << "the agent's own connection stays";
    client->socket.close();
    bench.run_until_idle();
  }
}

TEST(Reload, JudgesAgainAfterADialDuringWhichThePolicyChanged) {
  Reloading bench;
  asio::io_context elsewhere;
  asio::ip::tcp::acceptor origin(elsewhere);
  const asio::ip::tcp::endpoint any(asio::ip::address_v4::loopback(), 0);
  origin.open(any.protocol());
  origin.bind(any);
  origin.listen(0);
  const std::uint16_t port = origin.local_endpoint().port();
  // With its backlog full, the kernel leaves a further connect() waiting, for a second at a time.
  asio::ip::tcp::socket filler(elsewhere);
  filler.connect(origin.local_endpoint());
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  const auto client = bench.say(Reloading::connect_line("allowed.test", port) + "\x01hello");
  const auto before = open_descriptors();
  bench.run_until([&] { return open_descriptors() > before; });  // it dials
  bench.run_for(100ms);
  EXPECT_EQ(client->heard, "");
  bench.swap("      - {host: nowhere.test}\n");
  bench.run_for(50ms);
  auto accepted = origin.accept();
  bench.run_until([&] { return client->ended; });
  EXPECT_THAT(client->heard, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(client->heard, HasSubstr("details=\"policy_changed\""));
  auto dialled = origin.accept();
  std::array<char, 16> chunk;
  boost::system::error_code error;
  EXPECT_EQ(dialled.read_some(asio::buffer(chunk), error), 0U) << "not one byte was passed on";
}

TEST(Report, LetsPassAndSaysWhatEnforcementWouldHaveSaid) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  const std::string text =
      text_of(allow_loopback(port), "report") + "never: [{host: other.test}]\n";
  bench.swap(policy_of(text));
  bench.tunnel("allowed.test", port, "\x01hello")->socket.close();
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("agent=\"coder-1\",verdict=\"report\",reason=\"reported\"} 1"));
  EXPECT_EQ(bench.totals().reported[static_cast<std::size_t>(Reason::not_listed)], 1U);
  EXPECT_EQ(bench.totals().reported[static_cast<std::size_t>(Reason::not_listed)], 1U);
  bench.swap(
      policy_of(text_of(allow_host("x.test", 1), "report") + "never: [{host: other.test}]\n"));
  for (const std::string_view host : {"other.test", "allowed.test"}) {
    const auto client = bench.say(Reloading::connect_line(host, port));
    bench.run_until([&] { return client->ended; });
  }
  bench.run_until_idle();
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0]["verdict"], "report");
  EXPECT_EQ(lines[0]["reason"], "reported");
  EXPECT_EQ(lines[0]["would_deny"], "not_listed");
  EXPECT_EQ(lines[1]["verdict"], "deny");
  EXPECT_EQ(lines[1]["reason"], "never");
  EXPECT_EQ(lines[1]["would_deny"], "");
  EXPECT_EQ(lines[2]["verdict"], "deny");
  EXPECT_EQ(lines[2]["reason"], "address_private");
  EXPECT_EQ(lines[2]["would_deny"], "");
}

}  // namespace
}  // namespace sluice::proxy
