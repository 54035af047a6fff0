#include "allowlists/tools/suggest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "allowlists/tools/replay.h"
#include "tests/unit/policy_tools/audit_lines.h"

namespace sluice::allowlists {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

Suggestion suggest(const std::vector<Wrote>& lines) {
  Suggester suggester;
  EXPECT_TRUE(feed(suggester, lines));
  return suggester.suggestion();
}

// The part from "agents:" on.
std::string yaml_of(const std::vector<Wrote>& lines) {
  const std::string yaml = to_yaml(suggest(lines));
  policy_of(yaml);  // loads
  return yaml.substr(yaml.find("\nagents:") + 1);
}

Wrote with_bytes(std::string host, std::uint64_t up, std::uint64_t down) {
  return {.host = host, .bytes_up = up, .bytes_down = down, .sni = host};
}

Wrote at(Wrote wrote, std::string address) {
  wrote.address = std::move(address);
  return wrote;
}

Wrote by(std::string agent, Wrote wrote) {
  wrote.agent = std::move(agent);
  return wrote;
}

Wrote on(std::uint16_t port, Wrote wrote) {
  wrote.port = port;
  return wrote;
}

TEST(Suggest, AllowsEachHostOnThePortsSeenAndKeepsTheCounts) {
  const std::string yaml = to_yaml(suggest({
      with_bytes("api.example.com", 1'258'291, 92'274'688),
      with_bytes("api.example.com", 0, 0),
      refused("api.example.com", "not_listed"),
      {.host = "www.example.com"},
      {.host = "www.example.com", .port = 80},
      refused("git.example.org", "port_not_allowed", 22),
      {.host = "x.example.org",
       .port = 8443,
       .verdict = "report",
       .reason = "reported",
       .would_deny = "not_listed"},
  }));
  EXPECT_EQ(
      yaml,
      R"(# Made by 'sluice policy suggest' of 7 decisions. The agents chose these names: read before use.
version: 1

agents:
  "coder-1":
    allow:
      - host: api.example.com  # 3 requests, 1.2 MiB up, 88 MiB down, 1 refused
        ports: [443]
      - host: www.example.com  # 2 requests, 0 B up, 0 B down
      - host: git.example.org  # 1 request, all refused
        ports: [22]
      - host: x.example.org  # 1 request, 0 B up, 0 B down
        ports: [8443]
)");
}

TEST(Suggest, SaysThatThePortsOfANameAskedForInDnsAloneAreNotKnown) {
  EXPECT_EQ(yaml_of({asked_in_dns("api.example.com"), asked_in_dns("api.example.com"),
                     asked_in_dns("db.example.com"), on(5432, {.host = "db.example.com"})}),
            R"(agents:
  "coder-1":
    allow:
      - host: api.example.com  # asked for in DNS only (2 questions): its ports are not known
      - host: db.example.com  # 1 request, 0 B up, 0 B down
        ports: [5432]
)");
}

TEST(Suggest, MakesOneRuleOfThreeSiblingsThatAgree) {
  EXPECT_EQ(yaml_of({{.host = "a.cdn.example.net"},
                     {.host = "b.cdn.example.net"},
                     {.host = "c.cdn.example.net"},
                     on(80, {.host = "d.cdn.example.net"}),
                     {.host = "a.x.example.net"},
                     {.host = "b.x.example.net"}}),
            R"(agents:
  "coder-1":
    allow:
      - host: "*.cdn.example.net"  # 3 requests, 0 B up, 0 B down (a.cdn.example.net, b.cdn.example.net, c.cdn.example.net)
        ports: [443]
      - host: d.cdn.example.net  # 1 request, 0 B up, 0 B down
        ports: [80]
      - host: a.x.example.net  # 1 request, 0 B up, 0 B down
        ports: [443]
      - host: b.x.example.net  # 1 request, 0 B up, 0 B down
        ports: [443]
)");
}

TEST(Suggest, IncludesTheParentWhereItWasSeenToo) {
  const std::vector<Wrote> lines = {{.host = "cdn.example.net"},
                                    {.host = "a.cdn.example.net"},
                                    {.host = "b.cdn.example.net"},
                                    {.host = "c.cdn.example.net"}};
  EXPECT_THAT(yaml_of(lines), HasSubstr("host: \".cdn.example.net\"  # 4 requests, 0 B up, 0 B "
                                        "down (cdn.example.net, a.cdn.example.net, "));
}

TEST(Suggest, NeverGeneralisesToWhereStrangersRegisterNames) {
  for (const std::string parent : {"com", "co.uk", "github.io", "test"}) {
    const std::string yaml =
        yaml_of({{.host = "a." + parent}, {.host = "b." + parent}, {.host = "c." + parent}});
    EXPECT_THAT(yaml, Not(HasSubstr("*")));
    EXPECT_THAT(yaml, HasSubstr("host: b." + parent));
  }
}

TEST(Suggest, NeverGeneralisesOverANameThatTheOperatorRefuses) {
  for (const std::string reason : {"denied", "never", "policy_changed"}) {
    const std::string yaml = yaml_of({{.host = "a.example.net"},
                                      {.host = "b.example.net"},
                                      {.host = "c.example.net"},
                                      refused("paste.x.example.net", reason)});
    EXPECT_THAT(yaml, Not(HasSubstr("*"))) << reason;
    EXPECT_THAT(yaml, HasSubstr("# coder-1: " + reason + ": paste.x.example.net:443 (1 time)\n"));
  }
}

TEST(Suggest, DoesNotOpenAgainWhatTheOperatorRefusedLater) {
  EXPECT_EQ(yaml_of({{.host = "a.example.net"},
                     on(80, {.host = "a.example.net"}),
                     refused("a.example.net", "denied"),
                     {.host = "b.example.net"},
                     asked_in_dns("b.example.net", "never")}),
            R"(agents:
  "coder-1":
    allow:
      - host: a.example.net  # 2 requests, 0 B up, 0 B down
        ports: [80]

# Not in the rules above, because something else than a missing rule refused it:
# coder-1: denied: a.example.net:443 (1 time)
# coder-1: never: b.example.net (1 time)
)");
}

TEST(Suggest, WarnsOfNamesThatLookLikeDataAndSuggestsNothingBelowTheirDomain) {
  std::vector<Wrote> lines = {{.host = "www.evil.example"},
                              {.host = "a.evil.example"},
                              {.host = "b.evil.example"},
                              {.host = "ns.t.evil.example"}};
  std::mt19937 random(1);
  for (int i = 0; i < 31; ++i) {
    const std::string data = fmt::format("{:08x}{:08x}", random(), random());
    lines.push_back(asked_in_dns(data + ".t.evil.example"));
    lines.push_back(asked_in_dns(data + ".t.evil.example"));
  }
  const std::string yaml = to_yaml(suggest(lines));
  policy_of(yaml);
  EXPECT_THAT(yaml, HasSubstr("# warning: coder-1: this looks like data in host names: 32 random "
                              "names of t.evil.example in 63 requests; no rule is suggested\n"));
  EXPECT_THAT(yaml, HasSubstr("host: www.evil.example"));
  EXPECT_THAT(yaml, Not(HasSubstr(".t.evil.example")));
  EXPECT_THAT(yaml, Not(HasSubstr("\"*"))) << "a wildcard above would open the domain again";
  lines.resize(lines.size() - 4);
  EXPECT_THAT(to_yaml(suggest(lines)), Not(HasSubstr("warning")));
}

TEST(Suggest, DoesNotTakeOrdinaryHostsForData) {
  std::vector<Wrote> lines;
  for (int i = 0; i < 60; ++i) lines.push_back({.host = fmt::format("node{}.example.net", i)});
  EXPECT_THAT(yaml_of(lines), HasSubstr("\"*.example.net\""));
}

TEST(Suggest, WarnsOfASearchForOpenPorts) {
  std::vector<Wrote> lines;
  for (std::uint16_t port = 1; port <= 33; ++port) {
    lines.push_back(refused("a.example.net", "not_listed", port));
  }
  const std::string yaml = to_yaml(suggest(lines));
  EXPECT_THAT(yaml, HasSubstr("# warning: coder-1: this looks like a search for open ports: 33 "
                              "ports of a.example.net in 33 requests; no rule is suggested\n"));
  EXPECT_THAT(yaml, HasSubstr("allow: []\n"));
  lines.pop_back();
  EXPECT_THAT(yaml_of(lines), HasSubstr("host: a.example.net"));
}

TEST(Suggest, MakesRangesOfLiteralAddresses) {
  EXPECT_EQ(yaml_of({refused("25.10.0.10", "not_listed"),
                     refused("2a0e:1::10", "not_listed", 8443),
                     {.host = "10.0.0.5", .port = 5432, .reason = "listed_cidr"}}),
            R"(agents:
  "coder-1":
    allow:
      - cidr: "10.0.0.5/32"  # 1 request, 0 B up, 0 B down
        ports: [5432]
      - cidr: "25.10.0.10/32"  # 1 request, all refused
        ports: [443]
      - cidr: "2a0e:1::10/128"  # 1 request, all refused
        ports: [8443]
)");
}

TEST(Suggest, OpensThePrivateAddressesThatANameWasAllowedToLeadTo) {
  EXPECT_EQ(yaml_of({at(on(5432, {.host = "db.example.com"}), "10.0.0.5"),
                     at(on(8080, {.host = "host.sluice.internal", .reason = "listed_cidr"}),
                        "127.0.0.1")}),
            R"(agents:
  "coder-1":
    allow:
      - host: db.example.com  # 1 request, 0 B up, 0 B down
        ports: [5432]
      - cidr: "10.0.0.5/32"  # 1 request, 0 B up, 0 B down (for db.example.com)
        ports: [5432]
      - cidr: "127.0.0.1/32"  # 1 request, 0 B up, 0 B down (for host.sluice.internal)
        ports: [8080]
)");
}

TEST(Suggest, OffersARefusedPrivateAddressAsLinesToPasteAndNotAsARule) {
  EXPECT_EQ(yaml_of({at(refused("db.example.com", "address_private", 5432), "10.0.0.5"),
                     refused("192.168.0.7", "address_private", 80),
                     refused("host.sluice.internal", "address_private", 11434),
                     asked_in_dns("host.sluice.internal", "address_private")}),
            R"(agents:
  "coder-1":
    allow: []

# Not in the rules above, because something else than a missing rule refused it:
# coder-1: address_private: 192.168.0.7:80 (1 time); if it is meant:
#     - cidr: "192.168.0.7/32"
#       ports: [80]
# coder-1: address_private: db.example.com:5432 at 10.0.0.5 (1 time); if it is meant:
#     - host: db.example.com
#       ports: [5432]
#     - cidr: "10.0.0.5/32"
#       ports: [5432]
# coder-1: address_private: host.sluice.internal (1 time)
# coder-1: address_private: host.sluice.internal:11434 (1 time); if it is meant:
#     - cidr: "127.0.0.1/32"
#       ports: [11434]
)");
}

TEST(Suggest, OffersLinesToPasteThatOpenWhatTheyStandBelow) {
  const std::vector<Wrote> lines = {
      at(refused("db.example.com", "address_private", 5432), "10.0.0.5"),
      at(refused("nat.example.com", "address_private", 80), "64:ff9b::a00:6"),
      refused("host.sluice.internal", "address_private", 11434),
      refused("64:ff9b::c0a8:1", "address_private", 80)};
  std::string pasted = "version: 1\nagents:\n  coder-1:\n    allow:\n";
  std::istringstream yaml(to_yaml(suggest(lines)));
  for (std::string text; std::getline(yaml, text);) {
    if (text.starts_with("#     ")) pasted += text.replace(0, 1, " ") + "\n";
  }
  Replay again(policy_of(pasted));
  ASSERT_TRUE(feed(again, lines));
  EXPECT_EQ(again.report().newly_allowed.size(), lines.size()) << pasted;
}

TEST(Suggest, ListsWhatAnotherWordThanAMissingRuleRefused) {
  EXPECT_EQ(yaml_of({refused("git.example.com", "not_tls"), refused("git.example.com", "not_tls"),
                     refused("a.example.com", "sni_missing"), refused("", "bad_request", 0),
                     refused("127.1", "bad_host", 0), refused("a.example.com", "rate_limit"),
                     refused("169.254.169.254", "address_forbidden", 80),
                     refused("198.18.0.9", "not_listed", 80),
                     at({.host = "m.example.com"}, "169.254.169.254")}),
            R"(agents:
  "coder-1":
    allow: []

# Not in the rules above, because something else than a missing rule refused it:
# coder-1: not_tls: git.example.com:443 (2 times); its rule lets it pass with tls: match
# coder-1: bad_request: (no host) (1 time)
# coder-1: bad_host: 127.1 (1 time)
# coder-1: address_forbidden: 169.254.169.254:80 (1 time)
# coder-1: not_listed: 198.18.0.9:80 (1 time)
# coder-1: sni_missing: a.example.com:443 (1 time); its rule lets it pass with tls: "off"
# coder-1: rate_limit: a.example.com:443 (1 time)
# coder-1: address_forbidden: m.example.com:443 at 169.254.169.254 (1 time)
)");
}

TEST(Suggest, RelaxesTlsOnlyWhereBytesPassedOn443WithoutAServerName) {
  const auto passed = [](std::string reason, std::string sni, std::uint64_t bytes) {
    return Wrote{
        .host = "git.example.com", .reason = reason, .bytes_up = bytes, .sni = std::move(sni)};
  };
  EXPECT_THAT(yaml_of({passed("listed", "", 9)}),
              HasSubstr("ports: [443]\n        tls: match  # passed on 443 without a server name; "
                        "TLS without one takes \"off\"\n"));
  for (const Wrote& strict : {passed("listed", "git.example.com", 9), passed("listed", "", 0),
                              passed("dns_failed", "", 9), on(22, passed("listed", "", 9))}) {
    EXPECT_THAT(yaml_of({strict}), Not(HasSubstr("tls:"))) << line(strict);
  }
}

TEST(Suggest, LeavesOutReverseLookups) {
  EXPECT_EQ(yaml_of({asked_in_dns("4.2.0.192.in-addr.arpa"), asked_in_dns("b.ip6.arpa")}),
            "agents:\n  \"coder-1\":\n    allow: []\n"
            "# 2 lookups of addresses (below arpa) are left out: nobody waits for them\n");
}

TEST(Suggest, QuotesNamesThatYamlTakesForSomethingElse) {
  const std::string yaml = yaml_of({by("null", {.host = "null"}), by("1e3", {.host = "1.example"}),
                                    by("true", {.host = "-.example"}), by("0x1f", {.host = "y"})});
  for (const std::string_view expected :
       {"  \"null\":\n", "  \"1e3\":\n", "host: \"null\"", "host: \"1.example\"",
        "host: \"-.example\"", "host: \"y\""}) {
    EXPECT_THAT(yaml, HasSubstr(std::string(expected)));
  }
}

TEST(Suggest, MakesAGlobOfThreeNumberedAgentsThatNeedTheSame) {
  EXPECT_EQ(yaml_of({by("coder-1", with_bytes("a.example.com", 1, 1)),
                     by("coder-22", with_bytes("a.example.com", 1, 1)),
                     by("coder-3fa9", with_bytes("a.example.com", 1, 1)),
                     by("coder-4", with_bytes("b.example.com", 1, 1)),
                     by("coder-main", with_bytes("a.example.com", 1, 1)),
                     by("coder-face", with_bytes("a.example.com", 1, 1)),
                     by("coder-5", refused("a.example.com", "denied"))}),
            R"(agents:
  "coder-*":  # coder-1, coder-22, coder-3fa9
    allow:
      - host: a.example.com  # 3 requests, 3 B up, 3 B down
        ports: [443]
  "coder-4":
    allow:
      - host: b.example.com  # 1 request, 1 B up, 1 B down
        ports: [443]
  "coder-5":
    allow: []
  "coder-face":
    allow:
      - host: a.example.com  # 1 request, 1 B up, 1 B down
        ports: [443]
  "coder-main":
    allow:
      - host: a.example.com  # 1 request, 1 B up, 1 B down
        ports: [443]

# Not in the rules above, because something else than a missing rule refused it:
# coder-5: denied: a.example.com:443 (1 time)
)");
  EXPECT_THAT(yaml_of({by("coder-1", {.host = "a.test"}), by("coder-2", {.host = "a.test"})}),
              Not(HasSubstr("*")));
}

TEST(Suggest, WritesAPolicyForALogWithoutDecisions) { EXPECT_EQ(yaml_of({}), "agents: {}\n"); }

TEST(Suggest, WritesOneJsonObject) {
  const Suggestion suggestion =
      suggest({with_bytes("a.example.com", 5, 6), refused("b.example.com", "denied")});
  EXPECT_EQ(Json::parse(to_json(suggestion)), Json::parse(R"({
    "version": 1,
    "agents": [{"pattern": "coder-1", "agents": ["coder-1"], "allow": [
      {"host": "a.example.com", "ports": [443], "requests": 1, "refused": 0, "questions": 0,
       "bytes_up": 5, "bytes_down": 6, "hosts": []}]}],
    "not_suggested": [{"agent": "coder-1", "host": "b.example.com", "port": 443,
      "reason": "denied", "address": "", "count": 1}],
    "not_listed_here": 0, "reverse_lookups": 0, "doubts": [], "decisions": 2})"));
}

TEST(Suggest, EscapesInJsonWhatWouldSteerATerminal) {
  const std::string json = to_json(suggest({refused("\x1b\u202e\u009b\x7f", "bad_host", 0)}));
  EXPECT_THAT(json, HasSubstr(R"("host":"\u001b\u202e\u009b\u007f")"));
}

}  // namespace
}  // namespace sluice::allowlists
