#include "allowlists/load.h"

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "allowlists/unbuilt_keys.h"
#include "policies.h"

namespace sluice::allowlists {
namespace {

using testing::HasSubstr;

TEST(PolicyFile, UnknownKeysAreErrorsWithTheNearestKnownOne) {
  EXPECT_EQ(errors_of_rule("{host: a.test, port: [443]}"),
            "allow.yaml:5:24: error: unknown key 'port'\n"
            "hint: did you mean 'ports'?\n");
  EXPECT_EQ(errors_of("version: 1\nagent:\n"),
            "allow.yaml:2:1: error: unknown key 'agent'\n"
            "hint: did you mean 'agents'?\n");
  EXPECT_EQ(errors_of(coder("    Allow: []\n    something_else: 1\n")),
            "allow.yaml:4:5: error: unknown key 'Allow'\n"
            "hint: did you mean 'allow'?\n"
            "allow.yaml:5:5: error: unknown key 'something_else'\n"
            "hint: known here: mode, use, allow, deny, limits, sandbox\n");
  EXPECT_NE(errors_of(coder("    <<: {allow: []}\n")), "");
  EXPECT_NE(errors_of(coder("    ? [allow]\n    : []\n")), "");
}

TEST(PolicyFile, KeysThatDoNotActYetAreErrorsNotIgnored) {
  EXPECT_EQ(
      errors_of(coder("    inject: {}\n")),
      "allow.yaml:4:5: error: 'inject' is not built yet: what is said inside TLS is not changed\n"
      "hint: remove it\n");
  for (const UnbuiltKey& key : unbuilt_keys) {
    if (key.key.find(' ') != std::string_view::npos) continue;
    const std::string text = std::string(key.key) + ": x";
    const std::string expected = '\'' + std::string(key.key) + "' is not built yet: ";
    EXPECT_THAT(errors_of("version: 1\n" + text + "\n"), HasSubstr(expected));
    EXPECT_THAT(errors_of(coder("    " + text + "\n")), HasSubstr(expected));
    EXPECT_THAT(errors_of_rule("{host: a.test, " + text + "}"), HasSubstr(expected));
  }
}

TEST(PolicyFile, HasSwapOnlyBesideMemory) {
  EXPECT_EQ(errors_of(coder("    sandbox: {swap: 0}\n")),
            "allow.yaml:4:15: error: 'swap' stands without 'memory'\n"
            "hint: write how much memory there is beside it: memory: 2GiB\n");
  EXPECT_EQ(errors_of(coder("    sandbox: {swap: 0, memory: 1GiB}\n")), "");
}

TEST(PolicyFile, SetsLimitsForEachEntry) {
  const auto policy = policy_of(coder(R"(    limits:
      connections: 256
      connects: 50/s
      upload: 1GiB/day
      download: 10MiB/minute
      bandwidth: 20MiB/s
)"));
  EXPECT_EQ(policy->for_agent("coder-1").limits(),
            (Limits{.connections = 256,
                    .connects = Rate{50, std::chrono::seconds(1)},
                    .upload = Budget{1U << 30, std::chrono::hours(24)},
                    .download = Budget{10U << 20, std::chrono::minutes(1)},
                    .bandwidth = 20U << 20}));
  EXPECT_EQ(policy_of(coder("    limits: {}\n"))->for_agent("coder-1").limits(), Limits());
  EXPECT_EQ(policy->for_agent("other").limits(), Limits());
}

TEST(PolicyFile, SaysWhatALimitLooksLike) {
  struct Case {
    std::string limit, expected;
  };
  const std::vector<Case> cases = {
      {"connections: \"256\"",
       "'connections' is in quotes, which makes it a text\n"
       "hint: write it in decimal, without quotes: 256\n"},
      {"connections: 0", "'connections' is '0'\nhint: write it in decimal, without quotes: 256\n"},
      {"connects: 50/d", "'connects' is '50/d'\nhint: write 50/s, 600/m or 1000/h\n"},
      {"upload: 1GB/day",
       "'upload' is '1GB/day'\n"
       "hint: write 1GiB/day, 100MiB/hour or 10MiB/minute; at least 1KiB\n"},
      {"bandwidth: [1]", "'bandwidth' is a list\nhint: write 20MiB/s; at least 1KiB/s\n"},
      {"uploads: 1GiB/day", "unknown key 'uploads'\nhint: did you mean 'upload'?\n"},
  };
  for (const auto& [limit, expected] : cases) {
    EXPECT_EQ(errors_of(coder("    limits:\n      " + limit + "\n")),
              "allow.yaml:5:7: error: " + expected);
  }
}

TEST(PolicyFile, DuplicateKeysAreErrors) {
  EXPECT_EQ(errors_of_rule("{host: a.test, host: b.test}"),
            "allow.yaml:5:24: error: key 'host' stands here twice, first on line 5\n"
            "hint: keep one of them\n");
  EXPECT_EQ(errors_of("version: 1\nnever: []\nnever: []\nversion: 1\n"),
            "allow.yaml:3:1: error: key 'never' stands here twice, first on line 2\n"
            "hint: keep one of them\n"
            "allow.yaml:4:1: error: key 'version' stands here twice, first on line 1\n"
            "hint: keep one of them\n");
}

TEST(PolicyFile, AnAgentHasOneEntry) {
  EXPECT_EQ(errors_of("version: 1\nagents:\n  a: {}\n  b: {}\n  a: {}\n"),
            "allow.yaml:5:3: error: agent 'a' has an entry already, at allow.yaml:3:3\n"
            "hint: make one of the two: entries replace each other, they never merge\n");
  const std::vector<Source> sources = {
      {"a.yaml", "version: 1\nagents:\n  coder-1: {}\n"},
      {"b.yaml", "version: 1\n\nagents:\n  coder-1: {allow: [{host: 127.1}]}\n"}};
  const auto loaded = load(sources);
  ASSERT_FALSE(loaded);
  EXPECT_THAT(joined(loaded.error()),
              testing::StartsWith(
                  "b.yaml:4:3: error: agent 'coder-1' has an entry already, at a.yaml:3:3\n"
                  "hint: make one of the two: entries replace each other, they never merge\n"
                  "b.yaml:4:22: error: '127.1' is no host"));
}

TEST(PolicyFile, TwoPatternsOfEqualRankForTheSameAgentAreAnError) {
  EXPECT_EQ(errors_of("version: 1\nagents:\n  a*b*: {}\n  c-*: {}\n  a**b: {}\n"),
            "allow.yaml:5:3: error: 'a**b' and 'a*b*' (allow.yaml:3:3) fit the same agents equally "
            "well\n"
            "hint: give one of them a longer literal beginning\n");
  EXPECT_EQ(errors_of("version: 1\nagents:\n  a-*: {}\n  b-*: {}\n  \"*-x\": {}\n  \"*-y\": {}\n"
                      "  a*: {}\n  a-1: {}\n  \"*\": {}\n"),
            "");
  for (const char* name : {"a b", "-a", "a?", "[a]", "a/b", "\"\"", "~", "\"\\u00e9\""}) {
    EXPECT_NE(errors_of("version: 1\nagents:\n  " + std::string(name) + ": {}\n"), "") << name;
  }
}

TEST(PolicyFile, WrongTypesAreErrors) {
  EXPECT_EQ(errors_of(coder("    allow:\n    deny: a.test\n")),
            "allow.yaml:4:5: error: 'allow' is nothing, not a list\n"
            "hint: write a list of rules, or [] for none\n"
            "allow.yaml:5:5: error: 'deny' is a text, not a list\n"
            "hint: write a list of rules, or [] for none\n");
  EXPECT_EQ(errors_of("version: 1\nagents:\n  coder-1:\n"),
            "allow.yaml:3:3: error: agent 'coder-1' is nothing, not a mapping\n"
            "hint: write allow: [...] below it, or {} to deny everything\n");
  EXPECT_EQ(errors_of("version: 1\nagents: [coder-1]\nnever: {host: a.test}\n"),
            "allow.yaml:2:1: error: 'agents' is a list, not a mapping\n"
            "hint: write NAME: {allow: [...]} for each agent\n"
            "allow.yaml:3:1: error: 'never' is a mapping, not a list\n"
            "hint: write a list of rules, or [] for none\n");
  EXPECT_EQ(errors_of("- host: a.test\n"),
            "allow.yaml:1:1: error: the policy is a list, not a mapping\n"
            "hint: begin with 'version: 1'\n");
  EXPECT_EQ(errors_of_rule("{host: a.test, why: [a]}"),
            "allow.yaml:5:24: error: 'why' is a list, not a text\n"
            "hint: write a sentence\n");
}

TEST(PolicyFile, SaysItsVersion) {
  EXPECT_EQ(errors_of("agents: {}\n"),
            "allow.yaml:1:1: error: the policy does not say its version\n"
            "hint: write version: 1\n");
  EXPECT_EQ(errors_of("version: 2\n"),
            "allow.yaml:1:1: error: unknown version '2'\n"
            "hint: write version: 1\n");
  EXPECT_EQ(errors_of("version: \"1\"\n"),
            "allow.yaml:1:1: error: unknown version '1'\n"
            "hint: write version: 1, without quotes\n");
  for (const char* version : {"01", "1.0", "\"1\"", "one", "", "[1]"}) {
    EXPECT_NE(errors_of("version: " + std::string(version) + "\n"), "") << version;
  }
}

TEST(PolicyFile, AnEmptyFileIsAnError) {
  for (const char* text : {"", "\n", "# nothing\n", "---\n", "\xef\xbb\xbf"}) {
    EXPECT_THAT(errors_of(text), testing::StartsWith("allow.yaml:1:1: error: the policy is "))
        << text;
  }
}

TEST(PolicyFile, BrokenYamlIsAnErrorWithItsPlace) {
  EXPECT_EQ(errors_of("version: 1\nagents: {a: [}\n"),
            "allow.yaml:2:14: error: not valid YAML: did not find expected node content "
            "while parsing a flow node\n"
            "hint: look at the indentation, quotes and brackets here and on the line before\n");
  EXPECT_EQ(errors_of("version: 1\nagents: {}\n---\nversion: 1\n"),
            "allow.yaml:3:1: error: a second YAML document in one file\n"
            "hint: put it into a file of its own\n");
  for (const char* text :
       {"\t", "a: b: c", "\"", "[", "{", "- a\nb", "a: *x", "%TAG ! tag\n---\n", "version: !!int 1",
        "version: !x 1", "? a\n? b", "a: 'x", "&a", "*a", "!", "--- |", ">", "a:\n- b\n c"}) {
    EXPECT_NE(errors_of(text), "") << text;
  }
}

TEST(PolicyFile, IsUtf8TextWithoutControlCharacters) {
  EXPECT_EQ(errors_of("version: 1\n# caf\xe9\n"),
            "allow.yaml:2:6: error: byte 0xe9 is not UTF-8\n"
            "hint: save the file as UTF-8 text\n");
  EXPECT_EQ(errors_of(std::string("version: 1\nnever: []\0\n", 22)),
            "allow.yaml:2:10: error: control character 0x00\n"
            "hint: save the file as UTF-8 text\n");
  EXPECT_NE(errors_of("version: 1 # \x1b[2J\n"), "");
  EXPECT_NE(errors_of(std::string("\xff\xfev\0e\0r\0", 8)), "");
  EXPECT_EQ(errors_of("version: 1\r\n# caf\u00e9\t\r\nagents:\r\n  a: {}\r\n"), "");
}

TEST(PolicyFile, ReportsEveryErrorAtOnceInFileOrder) {
  const std::vector<Source> sources = {
      {"a.yaml",
       "version: 1\nagents:\n  a:\n    deny: [{cidr: 1}]\n    allow: [{host: '*'}]\n"
       "never: [{hots: a.test}]\n"},
      {"b.yaml", "version: ["},
      {"c.yaml", "versoin: 1\n"}};
  const auto loaded = load(sources);
  ASSERT_FALSE(loaded);
  std::string places;
  for (const Error& error : loaded.error()) {
    ASSERT_TRUE(error.where);
    EXPECT_FALSE(error.hint.empty()) << error.what;
    EXPECT_EQ(error.code, Errc::bad_config);
    places += error.where->file + ':' + std::to_string(error.where->line) + ' ';
  }
  EXPECT_EQ(places, "a.yaml:4 a.yaml:5 a.yaml:6 a.yaml:6 b.yaml:1 c.yaml:1 c.yaml:1 ");
}

TEST(PolicyFile, AliasesAreBounded) {
  EXPECT_EQ(
      errors_of("version: 1\nagents:\n  a: &rules\n    allow: [{host: a.test}]\n  b: *rules\n"),
      "");
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 9; ++k) bomb += last + ", ";
    bomb += last + "]\n";
  }
  EXPECT_THAT(errors_of(bomb), HasSubstr("error: more than 4000000 values, aliases counted"));
  EXPECT_THAT(errors_of("version: 1\nagents: &x {a: *x}\n"),
              HasSubstr("allow.yaml:2:16: error: an alias inside of what it stands for"));
  EXPECT_THAT(errors_of("a: " + std::string(100, '[')), HasSubstr("nested deeper than 32 levels"));
  EXPECT_NE(errors_of(std::string(100'000, '[')), "");
  EXPECT_NE(errors_of(std::string(100'000, '{')), "");
  std::string stairs;
  for (int i = 0; i < 2000; ++i) stairs += "- ";
  EXPECT_NE(errors_of(stairs), "");
}

TEST(PolicyFile, AnErrorInAnAliasIsSaidOnce) {
  EXPECT_EQ(
      errors_of("version: 1\nagents:\n  a:\n    allow: &x [{host: '*'}]\n  b:\n    allow: *x\n"),
      "allow.yaml:4:17: error: '*' stands for every host there is\n"
      "hint: if that is meant, write any: true\n");
}

TEST(PolicyFile, WarnsAboutRulesThatDoNothing) {
  EXPECT_EQ(warnings_of("version: 1\n"),
            "allow.yaml:1:1: error: no agent has an entry, so everything is denied\n"
            "hint: add 'agents:' with an entry for each agent or pattern\n");
  EXPECT_EQ(warnings_of(coder("    allow:\n      - cidr: 169.254.169.254\n")),
            "allow.yaml:5:9: error: '169.254.169.254' is never dialled, whatever a rule says\n"
            "hint: remove the rule\n");
  EXPECT_EQ(warnings_of(coder("    allow: [{host: .example.com, public_suffix: true}]\n")),
            "allow.yaml:4:34: error: '.example.com' is no wildcard over a public suffix\n"
            "hint: remove public_suffix\n");
  EXPECT_EQ(warnings_of(coder("    allow: [{host: .com, public_suffix: true}]\n")), "");
}

class Directory {
 public:
  Directory() {
    std::string pattern = testing::TempDir() + "sluice-policy-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ + '/' + name) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(PolicySources, AreOneFileOrTheYamlFilesOfADirectoryInNameOrder) {
  const Directory directory;
  directory.write("20-b.yml", "b");
  directory.write("10-a.yaml", "a");
  directory.write("README.md", "c");
  directory.write(".hidden.yaml", "d");
  directory.write("30-c.yaml~", "e");
  const auto sources = read_sources(directory.path());
  ASSERT_TRUE(sources);
  ASSERT_EQ(sources->size(), 2U);
  EXPECT_EQ((*sources)[0].name, "10-a.yaml");
  EXPECT_EQ((*sources)[0].text, "a");
  EXPECT_EQ((*sources)[1].name, "20-b.yml");
  const auto one = read_sources(directory.path() + "/README.md");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->front().name, "README.md");
}

TEST(PolicySources, ThatAreMissingAreErrors) {
  const Directory directory;
  EXPECT_FALSE(read_sources(directory.path()));
  EXPECT_FALSE(read_sources(directory.path() + "/none.yaml"));
  EXPECT_FALSE(load({}));
}

TEST(PolicySources, HaveAtMost50MegabytesTogether) {
  const std::string half(26'000'000, '#');
  const std::vector<Source> sources = {{"a.yaml", half}, {"b.yaml", half}};
  const auto loaded = load(sources);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(joined(loaded.error()),
            "error: 'b.yaml' is larger than 50 MB\n"
            "hint: write suffixes instead of lists of hosts\n");
}

TEST(PolicySources, SeveralFilesAreOnePolicy) {
  const std::vector<Source> sources = {
      {"a.yaml", "version: 1\nnever: [{host: a.test}]\nagents: {a: {allow: [{any: true}]}}\n"},
      {"b.yaml", "version: 1\nnever: [{host: b.test}]\nagents: {b: {allow: [{any: true}]}}\n"}};
  const auto loaded = load(sources);
  ASSERT_TRUE(loaded) << joined(loaded.error());
  const Policy& policy = *loaded->policy;
  EXPECT_EQ(policy.exact_agents(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(policy.rule_count(), 4U);
  EXPECT_EQ(summary(policy.for_agent("b").decide(target("a.test"))), "deny never a.yaml:2");
  EXPECT_EQ(summary(policy.for_agent("a").decide(target("b.test"))), "deny never b.yaml:2");
  EXPECT_EQ(summary(policy.for_agent("b").decide(target("c.test"))), "allow listed b.yaml:3");
}

}  // namespace
}  // namespace sluice::allowlists
