// Whatever a log says: what is suggested of it loads, and opens and blocks what it should.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "allowlists/tools/replay.h"
#include "allowlists/tools/suggest.h"
#include "tests/unit/policy_tools/audit_lines.h"

namespace sluice::allowlists {
namespace {

Suggestion suggest(const std::vector<Wrote>& lines) {
  Suggester suggester;
  EXPECT_TRUE(feed(suggester, lines));
  return suggester.suggestion();
}

class RandomLog {
 public:
  explicit RandomLog(unsigned seed) : random_(seed) {}

  std::vector<Wrote> lines(int count) {
    std::vector<Wrote> made;
    for (int i = 0; i < count; ++i) made.push_back(line());
    return made;
  }

 private:
  Wrote line() {
    Wrote wrote{.agent = pick({"coder-1", "coder-2", "coder-3", "null", "a.b_c", "0"})};
    wrote.port = number({80, 443, 443, 443, 22, 65535});
    wrote.sni = pick({"", "x"});
    wrote.bytes_up = random_() % 2;
    wrote.address =
        pick({"", "", "", "10.0.0.5", "25.10.0.10", "64:ff9b::a00:5", "::1", "169.254.169.254"});
    const std::string form = pick({"bad_host", "bad_request", "sni_mismatch", "rate_limit"});
    switch (random_() % 8) {
      case 0:
        wrote.host = hostile();
        wrote.verdict = "deny";
        wrote.reason = form;
        break;
      case 1:
        wrote.host = name();
        wrote.verdict = "deny";
        wrote.reason = pick({"not_listed", "not_listed", "never", "address_private"});
        wrote.via = "dns";
        wrote.port = 0;
        wrote.address = "";
        if (random_() % 4 != 0) break;
        wrote.verdict = "report";
        wrote.reason = "reported";
        wrote.would_deny = "not_listed";
        break;
      case 2:
      case 3:
        wrote.host = random_() % 4 == 0 ? literal() : name();
        wrote.verdict = "deny";
        wrote.reason =
            pick({"not_listed", "not_listed", "not_listed", "port_not_allowed", "unknown_agent",
                  "denied", "never", "policy_changed", "address_private", "address_forbidden"});
        break;
      default:
        wrote.host = random_() % 6 == 0 ? literal() : name();
        wrote.reason = pick({"listed", "listed_cidr", "reported", "dns_failed"});
        if (wrote.reason == "reported") {
          wrote.verdict = "report";
          wrote.would_deny = "not_listed";
        }
    }
    if (IpAddress::parse(wrote.host)) wrote.address = wrote.host;
    if (wrote.host == "host.sluice.internal") wrote.address = pick({"", "127.0.0.1", "::1"});
    return wrote;
  }

  std::string name() {
    const std::string parent =
        pick({"example.com", "cdn.example.com", "a.cdn.example.com", "example.co.uk", "co.uk",
              "github.io", "test", "x.test", "host.sluice.internal"});
    const std::string label =
        pick({"a.", "b.", "c.", "d.", "cdn.", "-.", "0.", "null.", "_x.", ""});
    return label + parent;
  }

  std::string literal() {
    return pick({"10.0.0.5", "25.10.0.10", "2a0e:1::10", "127.0.0.1", "169.254.169.254",
                 "198.18.0.9", "64:ff9b::a00:5", "64:ff9b::190a:a", "fd73:6c75:6963::1"});
  }

  std::string hostile() {
    std::string text;
    for (int i = 0; i < 12; ++i) {
      text += pick({"\n",     "\r",      "#",          "\"",     "'",
                    ": ",     "- ",      "\t",         "\\",     std::string(1, '\0'),
                    "\x7f",   "\x1b[2J", "\u0085",     "\u2028", "\u2029",
                    "\u202e", "\ufeff",  "\ufffe",     "\uffff", "\ufdd0",
                    "\xff",   "\xc3",    "\U0010ffff", "{",      "}",
                    "]",      "%",       "@",          "`",      "---",
                    "...",    "agents:", "evil.test",  "\u00e9"});
    }
    return text;
  }

  std::string pick(std::initializer_list<std::string> of) {
    return *(of.begin() + random_() % of.size());
  }
  std::uint16_t number(std::initializer_list<std::uint16_t> of) {
    return *(of.begin() + random_() % of.size());
  }

  std::mt19937 random_;
};

std::string key_of(std::string_view agent, std::string_view host, std::uint16_t port) {
  return fmt::format("{} {} {}", agent, host, port);
}

bool is_own_loopback(const IpAddress& address) {
  return address.to_string() == "127.0.0.1" || address.to_string() == "::1";
}

TEST(SuggestProperty, TheSuggestedPolicyLoadsAndBlocksNothingOfTheLogButWhatItLists) {
  for (unsigned seed = 0; seed < 48; ++seed) {
    const std::vector<Wrote> lines = RandomLog(seed).lines(seed % 2 == 0 ? 30 : 200);
    const Suggestion suggestion = suggest(lines);
    const std::string yaml = to_yaml(suggestion);
    Replay again(policy_of(yaml));
    ASSERT_FALSE(::testing::Test::HasFailure()) << seed;
    ASSERT_TRUE(feed(again, lines));
    std::set<std::string> listed;
    std::set<std::string> refuses_own_loopback;
    for (const NotSuggested& left : suggestion.not_suggested) {
      if (left.spelling == own_loopback_name) refuses_own_loopback.insert(left.agent);
      listed.insert(key_of(left.agent, left.spelling, left.port));
      listed.insert(key_of(left.agent, left.spelling, left.port == 0 ? 443 : left.port));
    }
    const ReplayReport report = again.report();
    for (const ReplayChange& blocked : report.newly_blocked) {
      bool told = listed.contains(key_of(blocked.agent, blocked.host, blocked.port)) ||
                  listed.contains(key_of(blocked.agent, blocked.host, 0));
      const auto literal = IpAddress::parse(blocked.host).value_or(IpAddress());
      for (const IpAddress& part : parts_to_cover(blocked.address.value_or(literal))) {
        told = told || listed.contains(key_of(blocked.agent, part.to_string(), blocked.port)) ||
               (is_own_loopback(part) && refuses_own_loopback.contains(blocked.agent));
      }
      for (const std::string_view literal_of_it : {"127.0.0.1", "::1"}) {
        told = told || (blocked.host == own_loopback_name &&
                        listed.contains(key_of(blocked.agent, literal_of_it, blocked.port)));
      }
      EXPECT_TRUE(told) << "seed " << seed << ": " << blocked.host << ':' << blocked.port << '\n'
                        << yaml;
    }
    for (const ReplayChange& allowed : report.newly_allowed) {
      EXPECT_TRUE(allowed.old.reason == Reason::not_listed ||
                  allowed.old.reason == Reason::port_not_allowed ||
                  allowed.old.reason == Reason::unknown_agent ||
                  allowed.old.reason == Reason::address_private)
          << "seed " << seed << ": " << allowed.host << ':' << allowed.port << " was "
          << reason_name(allowed.old.reason) << '\n'
          << yaml;
    }
  }
}

TEST(SuggestProperty, NothingAnAgentChoseLeavesItsComment) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::string yaml = to_yaml(suggest(RandomLog(seed).lines(100)));
    std::size_t begin = 0;
    while (begin < yaml.size()) {
      const std::size_t end = yaml.find('\n', begin);
      ASSERT_NE(end, std::string::npos);
      const std::string text = yaml.substr(begin, end - begin);
      begin = end + 1;
      for (const char c : text) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << text;
      const std::string code = text.substr(0, text.find('#'));
      EXPECT_THAT(code, ::testing::MatchesRegex(
                            R"(|version: 1|agents:.*|  "[A-Za-z0-9._*-]+": *|    allow:( \[\])?|)"
                            R"( {6}- (host|cidr): "?[a-z0-9.:/*_-]+"? *| {8}ports: \[[0-9, ]+\]|)"
                            R"( {8}tls: match *)"))
          << text;
    }
  }
}

TEST(SuggestProperty, ShowsTwoHundredLeftoversAndCountsTheRest) {
  std::vector<Wrote> lines;
  for (int i = 0; i < 10'050; ++i) lines.push_back(refused(fmt::format("h{}.test", i), "denied"));
  const Suggestion suggestion = suggest(lines);
  EXPECT_EQ(suggestion.not_suggested.size(), 10'000U);
  EXPECT_EQ(suggestion.not_listed_here, 50U);
  EXPECT_THAT(to_yaml(suggestion), ::testing::HasSubstr("\n# and 9850 more\n"));
}

TEST(SuggestProperty, StopsAtMoreTargetsThanItsMemoryIsFor) {
  Suggester suggester(4);
  std::vector<Wrote> lines;
  for (int i = 0; i < 4; ++i) lines.push_back({.host = fmt::format("h{}.test", i)});
  const auto fed = feed(suggester, lines);
  ASSERT_FALSE(fed);
  EXPECT_EQ(to_string(fed.error()),
            "error: the log names more than 4 targets\n"
            "hint: read it one agent at a time: --agent NAME");
}

}  // namespace
}  // namespace sluice::allowlists
