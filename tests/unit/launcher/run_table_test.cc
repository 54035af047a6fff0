#include "launcher/sessions/run_table.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sluice::launcher {
namespace {

using State = RunStatus::State;

RunStatus sample_run() {
  RunStatus status;
  status.state = State::running;
  status.agent = "coder-1";
  status.pid = 4711;
  status.since = 1767323045678;
  status.workspace = "/home/ana/project";
  status.policy = "/home/ana/p.yaml";
  set_command(status, {"bash", "-c", "echo \x1b[2J"});
  return status;
}

TEST(AStatus, IsReadAsItWasWritten) {
  RunStatus status = sample_run();
  status.until = 5;
  status.status = 7;
  status.shared = "/run/s";
  status.is_detached = true;
  const auto read = decode_status(encode(status) + "older text");
  ASSERT_TRUE(read);
  EXPECT_EQ(encode(*read), encode(status));
  EXPECT_EQ(read->status, 7);
}

TEST(AStatus, ThatIsNoneIsAnError) {
  for (const char* text : {"", "{}", "[]", "{\"state\":1}", "\n"}) {
    EXPECT_FALSE(decode_status(text)) << text;
  }
}

TEST(AStatus, KeepsTheBeginningOfALongCommand) {
  RunStatus status;
  set_command(status, {"echo", std::string(9000, 'x')});
  EXPECT_EQ(status.command, std::vector<std::string>{"echo"});
  EXPECT_TRUE(status.is_command_cut);
}

TEST(ATime, IsShownInUtc) { EXPECT_EQ(utc(1767323045678), "2026-01-02T03:04:05Z"); }

TEST(TheTable, ShowsOneLineARunAndCannotSteerATerminal) {
  EXPECT_EQ(to_table({{sample_run(), DecisionCounts{3, 0, 12}}}),
            "AGENT    PID   SINCE                 STATE    ALLOWED/BLOCKED  POLICY            "
            "WORKSPACE          COMMAND\n"
            "coder-1  4711  2026-01-02T03:04:05Z  running  3/12             /home/ana/p.yaml  "
            "/home/ana/project  bash -c echo \\x1b[2J\n");
  EXPECT_EQ(to_table({}), "nothing is running\n");
}

TEST(TheTable, CutsALongCommandBetweenCharacters) {
  RunStatus status = sample_run();
  status.command = {std::string(71, 'x') + "\u00fc"};
  const std::string table = to_table({{status, {}}});
  EXPECT_TRUE(table.ends_with(std::string(71, 'x') + "...\n")) << table;
}

TEST(TheJson, SaysNullForWhatIsNotKnown) {
  RunStatus status = sample_run();
  status.state = State::killed;
  status.pid = 0;
  const auto json = nlohmann::json::parse(to_json({{status, {}}}));
  ASSERT_EQ(json.size(), 1U);
  EXPECT_EQ(json[0]["state"], "killed");
  for (const char* key : {"pid", "until", "status", "shared", "allowed", "reported", "blocked"}) {
    EXPECT_TRUE(json[0][key].is_null()) << key;
  }
}

TEST(TheDecisions, AreSummedByVerdictWithTheNamesThatDnsRefused) {
  const DecisionCounts counts = count_decisions(
      "# TYPE sluice_decisions_total counter\n"
      "sluice_decisions_total{agent=\"a\",verdict=\"allow\",reason=\"listed\"} 3\n"
      "sluice_decisions_total{agent=\"a\",verdict=\"allow\",reason=\"connect_refused\"} 2\n"
      "sluice_decisions_total{agent=\"a\",verdict=\"deny\",reason=\"not_listed\"} 12\n"
      "sluice_decisions_total{agent=\"a\",verdict=\"report\",reason=\"not_listed\"} 1\n"
      "sluice_decisions_total_other{verdict=\"deny\"} 9\n"
      "sluice_dns_queries_total{agent=\"a\",outcome=\"answered\"} 100\n"
      "sluice_dns_queries_total{agent=\"a\",outcome=\"refused\"} 7\n");
  EXPECT_EQ(counts.allowed, 5U);
  EXPECT_EQ(counts.blocked, 19U);
  EXPECT_EQ(counts.reported, 1U);
}

}  // namespace
}  // namespace sluice::launcher
