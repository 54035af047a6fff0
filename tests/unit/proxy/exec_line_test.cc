#include "proxy/daemon/exec_line.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

// Behind the time.
std::string text_of(metrics::AuditLine line) {
  const std::string text = to_json(line);
  return text.substr(text.find(R"("agent")"));
}

TEST(ExecLine, TellsOfAProgramAndOfNoDecision) {
  const netns::SeenExec exec{"/bin/ls", {"ls", "-l"}, false, "/work", 7, 6, "bash", 12, 137, ""};
  EXPECT_EQ(text_of(exec_line("coder-1", exec)),
            R"("agent":"coder-1","via":"exec","program":"/bin/ls","argv":["ls","-l"],)"
            R"("cwd":"/work","pid":7,"parent":"bash","parent_pid":6,"ms":12,"exit_status":137,)"
            R"("error":""})"
            "\n");
}

TEST(ExecLine, EscapesWhatAnAgentChoseAndHasNullForWhatIsNotKnown) {
  const netns::SeenExec exec{"a\n\"", {"\x1b[2J", "\xff"}, true, "\u202e", 7, 6, "\\", {}, {}, "e"};
  EXPECT_EQ(text_of(exec_line("a", exec)),
            R"("agent":"a","via":"exec","program":"a\u000a\"","argv":["\u001b[2J","\ufffd"],)"
            R"("argv_cut":true,"cwd":"\u202e","pid":7,"parent":"\\","parent_pid":6,"ms":null,)"
            R"("exit_status":null,"error":"e"})"
            "\n");
  EXPECT_NE(text_of(exec_line("a", {})).find(R"("argv":[],)"), std::string::npos);
}

TEST(ExecLine, TellsHowManyProgramsHaveNone) {
  EXPECT_EQ(text_of(execs_left_out_line("a", 12)),
            "\"agent\":\"a\",\"via\":\"event\",\"event\":\"execs_left_out\",\"count\":12}\n");
}

}  // namespace
}  // namespace sluice::proxy
