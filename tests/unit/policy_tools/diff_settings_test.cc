// What `sluice policy diff` says of `limits:` and `sandbox:`.
#include "diff_policies.h"

namespace sluice::allowlists {
namespace {

// diff_text() of coder-1 with these lines beside one rule.
std::string told_of(const std::string& before, const std::string& after) {
  const std::string rule = "    allow: [{host: a.test}]\n";
  const auto entry = [&](const std::string& settings) {
    return of_coder(rule + (settings.empty() ? "" : "    " + settings + "\n"));
  };
  return told(entry(before), entry(after));
}

std::string lines(const std::string& text) { return "agent coder-1\n" + text; }

TEST(PolicyDiffOfLimits, OpensWhatIsRaisedOrGone) {
  EXPECT_EQ(told_of("limits: {connections: 8}", "limits: {connections: 8}"), "nothing changes\n");
  EXPECT_EQ(told_of("limits: {connections: 8}", "limits: {connections: 9}"),
            lines("  + limits.connections: 9, was 8\n"));
  EXPECT_EQ(told_of("limits: {connections: 8}", ""),
            lines("  + limits.connections: not set, was 8\n"));
  EXPECT_EQ(told_of("", "limits: {bandwidth: 20MiB/s}"),
            lines("  - limits.bandwidth: 20MiB/s, was not set\n"));
}

TEST(PolicyDiffOfLimits, ComparesOverEachPeriod) {
  struct Case {
    std::string before;
    std::string after;
    char sign;
  };
  for (const auto& [before, after, sign] : std::vector<Case>{
           {"upload: 1GiB/day", "upload: 10MiB/hour", '-'},
           {"upload: 1GiB/day", "upload: 50MiB/hour", '+'},   // more in a day
           {"upload: 24MiB/day", "upload: 1MiB/hour", '-'},   // as much in a day
           {"upload: 10MiB/hour", "upload: 10MiB/day", '-'},  // as much at once
           {"upload: 10MiB/hour", "upload: 11MiB/day", '+'},  // more at once
           {"connects: 60/m", "connects: 1/s", '-'},
           {"connects: 60/m", "connects: 2/s", '+'},
           {"connects: 1/s", "connects: 60/m", '+'},
       }) {
    const std::string was = before.substr(before.find(' ') + 1);
    const std::string now = after.substr(after.find(' ') + 1);
    const std::string key = before.substr(0, before.find(':'));
    EXPECT_EQ(
        told_of("limits: {" + before + "}", "limits: {" + after + "}"),
        lines(std::string("  ") + sign + " limits." + key + ": " + now + ", was " + was + '\n'));
  }
}

TEST(PolicyDiffOfTheSandbox, OpensWhatGivesTheAgentMore) {
  EXPECT_EQ(told_of("sandbox: {memory: 2GiB, cpus: 1.5, pids: 64, timeout: 30m, io_weight: 50}",
                    "sandbox: {memory: 1GiB, cpus: 2, pids: 65, timeout: 90s, io_weight: 40}"),
            lines("  + sandbox.cpus: 2, was 1.5\n"
                  "  + sandbox.pids: 65, was 64\n"
                  "  - sandbox.memory: 1GiB, was 2GiB\n"
                  "  - sandbox.io_weight: 40, was 50\n"
                  "  - sandbox.timeout: 90s, was 30m\n"));
  EXPECT_EQ(told_of("sandbox: {require_landlock: true}", "sandbox: {}"),
            lines("  + sandbox.require_landlock: not set, was true\n"));
}

TEST(PolicyDiffOfTheSandbox, KnowsThatALimitOfMemoryIsOneOfSwap) {
  EXPECT_EQ(told_of("sandbox: {memory: 2GiB}", "sandbox: {memory: 2GiB, swap: 1GiB}"),
            lines("  + sandbox.swap: 1GiB, was 0\n"));
  EXPECT_EQ(told_of("sandbox: {memory: 2GiB}", "sandbox: {memory: 2GiB, swap: 0}"),
            "nothing changes\n");
}

TEST(PolicyDiffOfTheSandbox, OpensWhatMayBeWrittenAndWhatIsShown) {
  EXPECT_EQ(told_of("sandbox: {mask: [~/notes, ~/.netrc], protect: [.tool/hooks]}",
                    "sandbox: {mask: [~/.netrc, /srv/keys]}"),
            lines("  + sandbox.mask ~/notes: not set, was hidden\n"
                  "  + sandbox.protect .tool/hooks: not set, was read-only\n"
                  "  - sandbox.mask /srv/keys: hidden, was not set\n"));
  EXPECT_EQ(told_of("sandbox: {tmpfs: {/a: 64MiB, /b: 64MiB, /c: 1MiB}, seed: [/opt/tool]}",
                    "sandbox: {tmpfs: {/a: 65MiB, /b: 63MiB, /d: 1MiB}, seed: [/opt/tool:64MiB]}"),
            lines("  + sandbox.tmpfs /a: at most 65MiB, was at most 64MiB\n"
                  "  + sandbox.tmpfs /d: at most 1MiB, was not set\n"
                  "  + sandbox.seed /opt/tool: at most 64MiB, was writable\n"
                  "  - sandbox.tmpfs /b: at most 63MiB, was at most 64MiB\n"
                  "  ~ sandbox.tmpfs /c: not set, was at most 1MiB\n"));
}

TEST(PolicyDiffOfSettings, StandsBelowWhatTheRulesSayAndCountsForTheExitStatus) {
  const auto before = text_of("old.yaml", of_coder("    allow: [{host: a.test}]\n"
                                                   "    limits: {connections: 8}\n"));
  const auto after = text_of("new.yaml", of_coder("    allow: []\n"
                                                  "    limits: {connections: 9}\n"));
  const PolicyDiff difference = diff(before, after, {});
  EXPECT_EQ(diff_text(difference), lines("  - a.test ports 80, 443, was (old.yaml:4)\n"
                                         "  + limits.connections: 9, was 8\n"));
  EXPECT_TRUE(difference.opens());
  EXPECT_FALSE(diff(after, before, "nobody").opens());
}

TEST(PolicyDiffOfSettings, TellsApartAgentsWhoseRulesAreTheSame) {
  const std::string head = "version: 1\ngroups: {g: [{host: a.test}]}\nagents:\n";
  EXPECT_EQ(told(head + "  a: {use: [group:g]}\n  b: {use: [group:g]}\n",
                 head + "  a: {use: [group:g], limits: {connections: 1}}\n  b: {use: [group:g]}\n"),
            "agent a\n  - limits.connections: 1, was not set\n");
}

TEST(PolicyDiffOfSettings, SaysNothingOfAnAgentThatHasAnEntryInOneOfTheTwoOnly) {
  const std::string empty = "version: 1\nagents: {}\n";
  const std::string entry = "version: 1\nagents: {a: {limits: {connections: 1}}}\n";
  EXPECT_EQ(told(empty, entry), "nothing changes\n");
  EXPECT_EQ(told(entry, empty), "nothing changes\n");
}

}  // namespace
}  // namespace sluice::allowlists
