#include <nlohmann/json.hpp>

#include "allowlists/load.h"
#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::HasSubstr;

Sandbox& with_both_trusts(Sandbox& sandbox) {
  sandbox.write("home/.npmrc", "registry=https://mirror.example.com/npm\n");
  sandbox.write("project/.npmrc",
                "registry=https://mirror.example.com/\n@x:registry=https://evil.test\n");
  sandbox.write(
      "project/.git/config",
      "[remote \"origin\"]\nurl = git@git.test:x\npushurl = http://mirror.example.com:8080/x\n");
  sandbox.machine.environment = {{"PIP_INDEX_URL", "http://mirror.example.com/simple"},
                                 {"GOPROXY", "https://192.0.2.1:8443"}};
  return sandbox;
}

constexpr std::string_view rules =
    "      # What this project's tools are configured for; paste it under an agent's 'allow:'\n"
    "      # from ~/.npmrc:1, $PIP_INDEX_URL, .npmrc:1\n"
    "      - host: mirror.example.com\n"
    "        ports: [80, 443]\n"
    "        why: npm registry, pip index\n"
    "      # from $GOPROXY\n"
    "      - cidr: 192.0.2.1/32\n"
    "        ports: [8443]\n"
    "        why: go module proxy\n"
    "      # from .npmrc:2, which an agent can write: read it before you remove the #\n"
    "      #- host: evil.test\n"
    "      #  ports: [443]\n"
    "      #  why: npm registry\n"
    "      # from .git/config:2, which an agent can write: read it before you remove the #\n"
    "      #- host: git.test\n"
    "      #  ports: [22]\n"
    "      #  tls: \"off\"\n"
    "      #  why: git remote\n"
    "      # from .git/config:3, which an agent can write: read it before you remove the #\n"
    "      #- host: mirror.example.com\n"
    "      #  ports: [8080]\n"
    "      #  why: git remote\n";

TEST(DiscoveredRules, OneRuleAHostAndWhatAnAgentCanWriteIsACommentEvenForATrustedHost) {
  Sandbox sandbox;
  EXPECT_EQ(to_yaml(with_both_trusts(sandbox).findings()), rules);
}

std::string errors_of(const std::string& list) {
  const std::vector<Source> sources = {
      {"p.yaml", "version: 1\nagents:\n  a:\n    allow:\n" + list}};
  const auto loaded = load(sources);
  std::string text;
  if (!loaded) {
    for (const Error& error : loaded.error()) text += to_string(error) + "\n";
  }
  return text;
}

TEST(DiscoveredRules, LoadAsTheyArePastedAndWithEveryCommentTakenAway) {
  Sandbox sandbox;
  sandbox.write("home/.cargo/config.toml", "[registries.x]\nindex = 'https://[2001:db8::1]/'\n");
  std::string list = to_yaml(with_both_trusts(sandbox).findings());
  EXPECT_EQ(errors_of(list), "");
  for (std::size_t at; (at = list.find("\n      #- ")) != std::string::npos;) list.erase(at + 7, 1);
  for (std::size_t at; (at = list.find("\n      #  ")) != std::string::npos;) list.erase(at + 7, 1);
  EXPECT_THAT(list,
              HasSubstr("\n      - host: git.test\n        ports: [22]\n        tls: \"off\""));
  EXPECT_EQ(errors_of(list), "");
}

TEST(DiscoveredRules, NamesThatYamlWouldTakeForSomethingElseAreQuoted) {
  Sandbox sandbox;
  sandbox.machine.environment = {{"PIP_INDEX_URL", "https://no/"},
                                 {"UV_INDEX", "https://1e3.test https://_x.test"}};
  const std::string list = to_yaml(sandbox.findings());
  EXPECT_THAT(list, HasSubstr("- host: \"no\"\n"));
  EXPECT_THAT(list, HasSubstr("- host: \"1e3.test\"\n"));
  EXPECT_THAT(list, HasSubstr("- host: \"_x.test\"\n"));
  EXPECT_EQ(errors_of(list), "");
}

TEST(DiscoveredRules, AreOneJsonObjectForPrograms) {
  Sandbox sandbox;
  sandbox.write("project/\xff\x1b.txt", "");
  const auto object = nlohmann::json::parse(to_json(with_both_trusts(sandbox).findings()));
  ASSERT_EQ(object["rules"].size(), 5u);
  EXPECT_EQ(object["rules"][0], nlohmann::json::parse(
                                    R"({"host": "mirror.example.com", "ports": [80, 443], "tls": "",
                    "why": "npm registry, pip index", "trust": "user", "from": [
                    {"file": "~/.npmrc", "line": 1, "trust": "user"},
                    {"file": "$PIP_INDEX_URL", "line": 0, "trust": "user"},
                    {"file": ".npmrc", "line": 1, "trust": "project"}]})"));
  EXPECT_EQ(object["rules"][1]["cidr"], "192.0.2.1/32");
  EXPECT_EQ(object["rules"][3]["tls"], "off");
  EXPECT_EQ(object["rules"][3]["trust"], "project");
  EXPECT_EQ(object["notes"], nlohmann::json::array());
  EXPECT_EQ(object["warnings"], nlohmann::json::array());
  EXPECT_EQ(object["left_out"], 0);
}

TEST(DiscoveredRules, NothingFoundIsNoText) {
  Sandbox sandbox;
  EXPECT_EQ(to_yaml(sandbox.findings()), "");
}

}  // namespace
}  // namespace sluice::allowlists::discover
