#include "allowlists/preset.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "allowlists/policy.h"
#include "policies.h"

namespace sluice::allowlists {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// The rules of an agent that uses only this preset.
std::vector<Rule> rules_of(const Preset& preset) {
  const std::vector<Source> sources = {
      {"allow.yaml",
       fmt::format("version: 1\nagents: {{a: {{use: [preset:{}]}}}}\n", preset.name)}};
  auto read = read_text(sources);
  if (read) {
    EXPECT_THAT(read->warnings, IsEmpty()) << joined(read->warnings);
    return std::move(read->text.agents.at(0).rules);
  }
  ADD_FAILURE() << joined(read.error());
  return {};
}

// By host, the presets that open it.
std::map<std::string, std::set<std::string>> presets_by_host() {
  std::map<std::string, std::set<std::string>> found;
  for (const Preset& preset : presets()) {
    for (const Rule& rule : rules_of(preset)) found[rule.name].emplace(preset.name);
  }
  return found;
}

TEST(Presets, AreTheFilesOfTheirFolderSortedByName) {
  std::set<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(SLUICE_SOURCE_DIR "/allowlists/presets")) {
    if (entry.path().extension() == ".yaml") files.insert(entry.path().stem());
  }
  std::vector<std::string> names;
  for (const Preset& preset : presets()) {
    names.emplace_back(preset.name);
    EXPECT_TRUE(is_agent_name(preset.name)) << preset.name;
  }
  EXPECT_EQ(names, std::vector<std::string>(files.begin(), files.end()));
}

TEST(Presets, OpenExactHostsOnPort443AndSayWhy) {
  for (const Preset& preset : presets()) {
    SCOPED_TRACE(preset.name);
    const std::vector<Rule> rules = rules_of(preset);
    EXPECT_FALSE(rules.empty());
    for (const Rule& rule : rules) {
      EXPECT_EQ(rule.effect, Effect::allow);
      EXPECT_EQ(rule.scope, Scope::exact) << rule.name;
      EXPECT_EQ(rule.ports, std::vector<std::uint16_t>{443}) << rule.name;
      EXPECT_NE(rule.why, "") << rule.name;
      EXPECT_THAT(std::string(preset.text), HasSubstr("- host: " + rule.name + "\n"));
    }
  }
}

TEST(Presets, OpenEachHostInOnePlaceOnly) {
  for (const auto& [host, names] : presets_by_host()) {
    EXPECT_EQ(names.size(), 1U) << host << " is in several presets";
  }
}

TEST(Presets, HoldTelemetryApart) {
  const auto found = presets_by_host();
  for (const std::string host : {"statsig.anthropic.com", "sentry.io"}) {
    EXPECT_EQ(found.at(host), std::set<std::string>{"claude-code-telemetry"}) << host;
  }
}

TEST(Presets, SayWhereStrangersCanReadWhatIsUploaded) {
  const std::set<std::string> risky = {"github.com", "api.github.com", "lfs.github.com",
                                       "gitlab.com"};
  std::set<std::string> marked;
  for (const Preset& preset : presets()) {
    for (const Rule& rule : rules_of(preset)) {
      if (rule.why.find("strangers can read") != std::string::npos) marked.insert(rule.name);
    }
  }
  EXPECT_TRUE(std::includes(marked.begin(), marked.end(), risky.begin(), risky.end()));
}

TEST(Presets, DecideAsTheRulesTheyStandForAndNameTheirLine) {
  const auto policy = policy_of("version: 1\nagents: {a: {use: [preset:gitlab]}}\n");
  const auto target = [](const char* text) { return *Target::parse(text, 443); };
  const Decision allowed = policy->for_agent("a").decide(target("gitlab.com"));
  EXPECT_EQ(allowed.reason, Reason::listed);
  EXPECT_EQ(allowed.rule, "preset:gitlab:2");
  EXPECT_EQ(policy->for_agent("a").decide(target("gitlab.com:22")).reason,
            Reason::port_not_allowed);
  EXPECT_EQ(policy->for_agent("a").decide(target("github.com")).reason, Reason::not_listed);
}

TEST(Presets, BeginWithWhatTheyAreFor) {
  EXPECT_EQ(summary_of({"x", "# What it is for.\n- host: a.test\n"}), "What it is for.");
  EXPECT_EQ(summary_of({"x", "#\n"}), "");
  EXPECT_EQ(summary_of({"x", ""}), "");
  for (const Preset& preset : presets()) {
    EXPECT_TRUE(preset.text.starts_with("# ")) << preset.name;
    EXPECT_TRUE(summary_of(preset).ends_with('.')) << preset.name;
  }
}

TEST(Presets, AreFoundByTheirWholeName) {
  ASSERT_NE(find_preset("github"), nullptr);
  EXPECT_EQ(find_preset("github")->name, "github");
  for (const char* name : {"", "git", "githubs", "GitHub", "preset:github", "../github"}) {
    EXPECT_EQ(find_preset(name), nullptr) << name;
  }
}

}  // namespace
}  // namespace sluice::allowlists
