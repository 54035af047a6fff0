#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launcher/audit_view/event_stream.h"
#include "launcher/audit_view/line.h"
#include "launcher/audit_view/line_file.h"

namespace sluice::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Style = FrameLine::Style;

constexpr std::string_view denied =
    R"({"ts":"2026-01-02T03:04:05.678Z","agent":"coder-7","session":"","via":"http","host":"evil.test",)"
    R"("port":80,"verdict":"deny","reason":"not_listed","would_deny":"","rule":"default",)"
    R"("method":"GET","path":"/\u001b[2J","bytes_up":0,"bytes_down":0,"ms":3,"error":""})";

TEST(AuditColumns, ShowALineAlignedAndWithNothingThatSteersATerminal) {
  const auto text = read_audit_line(denied);
  ASSERT_TRUE(text);
  AuditColumns columns;
  const FrameLine line = columns.line(*text);
  EXPECT_EQ(line.style, Style::denied);
  EXPECT_EQ(line.text,
            "2026-01-02T03:04:05.678Z coder-7  deny   http        not_listed       "
            "evil.test:80             GET /\\x1b[2J  3 ms  by default");
  AuditText longer = *text;
  longer.agent = "a-much-longer-name";
  const std::string wide = columns.line(longer).text;
  EXPECT_EQ(columns.line(*text).text.find("deny"), wide.find("deny"));
}

TEST(AuditText, ReadsProgramsAndEventsAsWell) {
  const auto exec = read_audit_line(
      R"({"ts":"t","agent":"a","via":"exec","program":"/usr/bin/git","argv":["git","status"],)"
      R"("cwd":"/w","pid":1,"parent":"bash","parent_pid":2,"ms":12,"exit_status":0,"error":""})");
  ASSERT_TRUE(exec);
  EXPECT_EQ(exec->verdict + exec->reason + " " + exec->target + " " + exec->details,
            "exit 0 /usr/bin/git git status");
  const auto event = read_audit_line(
      R"({"ts":"t","agent":"a","via":"event","event":"denials_left_out","count":5})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->reason + " " + event->details, "denials_left_out 5");
}

TEST(AuditText, SaysWhyAnAgentEndedAndWhatAContainmentCheckFound) {
  const auto details = [](const char* rest) {
    const auto text =
        read_audit_line(std::string(R"({"ts":"t","agent":"a","via":"event",)") + rest);
    return text ? text->reason + " " + text->details : "(none)";
  };
  EXPECT_EQ(details(R"("event":"agent_end","end":"failed","exit_status":3})"),
            "agent_end failed  exit 3");
  EXPECT_EQ(details(R"("event":"agent_end","end":"lost","exit_status":null})"), "agent_end lost");
  EXPECT_EQ(details(R"("event":"probe","ok":false,"error":"descriptor 7 was reached"})"),
            "probe descriptor 7 was reached");
}

TEST(AuditText, OfAnythingElseIsNone) {
  for (
      const char* text :
      {"", "{}", "null", "[1]", "{\"ts\":1}", R"({"ts":"t","agent":"a","via":"http"})",
       R"({"ts":"t","agent":"a","via":"http","verdict":"deny","reason":7})",
       R"({"ts":"t","agent":"a","via":"http","verdict":"deny","reason":"r","host":"h","port":"x"})"}) {
    EXPECT_FALSE(read_audit_line(text)) << text;
  }
}

TEST(AuditFilter, ChoosesByAgentVerdictAndTime) {
  const AuditText line{"2026-01-02T03:04:05.678Z", "a", "http", "deny", "", "", ""};
  EXPECT_TRUE((AuditFilter{"a", "deny", "2026-01-02T03:04"}.wants(line)));
  EXPECT_FALSE((AuditFilter{"b", "", ""}.wants(line)));
  EXPECT_FALSE((AuditFilter{"", "allow", ""}.wants(line)));
  EXPECT_FALSE((AuditFilter{"", "", "2026-01-02T03:04:06"}.wants(line)));
}

TEST(Since, IsADurationOrTheBeginningOfATime) {
  EXPECT_EQ(since_text("10m", 1767323645678), "2026-01-02T03:04:05");
  EXPECT_EQ(since_text("2026-01-02", 0), "2026-01-02");
  EXPECT_EQ(since_text("2026-01-02 03:04", 0), "2026-01-02T03:04");
  for (const char* typed : {"", "yesterday", "2026", "2026-1-2", "10", "2026-01-02Z"}) {
    EXPECT_FALSE(since_text(typed, 0)) << typed;
  }
}

TEST(LineCutter, CutsPiecesIntoLinesAndNamesThoseThatAreTooLong) {
  std::vector<std::string> lines;
  const auto each = [&](std::optional<std::string_view> line) {
    lines.emplace_back(line.value_or("(too long)"));
  };
  LineCutter cutter;
  cutter.add("on", each);
  cutter.add("e\ntwo\nthr", each);
  cutter.add(std::string(LineCutter::longest_line, 'x'), each);
  cutter.add("xx\nlast", each);
  EXPECT_THAT(lines, ElementsAre("one", "two", "(too long)"));
  cutter.end(each);
  EXPECT_THAT(lines, ElementsAre("one", "two", "(too long)", "last"));
}

TEST(LineFile, ReadsTheLastLinesOfAFileThatWasRotatedBeforeThoseOfTheNext) {
  const std::string path = testing::TempDir() + "line_file_" + std::to_string(::getpid());
  const auto append = [](const std::string& to, const char* text) {
    std::ofstream(to, std::ios::app) << text;
  };
  append(path, "one\n");
  auto file = LineFile::open(path);
  ASSERT_TRUE(file);
  std::vector<std::string> lines;
  const auto each = [&](std::optional<std::string_view> line) {
    lines.emplace_back(line.value_or("(too long)"));
  };
  const auto read_all = [&] {
    while (*file->read(each)) continue;
  };
  read_all();
  // All of it between two looks of the reader.
  append(path, "two\n");
  std::filesystem::rename(path, path + ".1");
  append(path + ".1", "three\n");
  append(path, "six\n");
  ASSERT_TRUE(file->go_on(each));
  read_all();
  // A writer that had looked at the path before the rename, and one line that it did not finish.
  append(path + ".1", "four\nfive");
  ASSERT_TRUE(file->go_on(each));
  read_all();
  EXPECT_THAT(lines, ElementsAre("one", "two", "three", "four", "five", "six"));
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".1");
}

TEST(EventStream, TakesWholeEventsAndLeavesTheRest) {
  std::string bytes = ":\n\nid: 7\nevent: decision\ndata: {\"a\":1}\n\nevent: lost\nda";
  auto events = take_events(bytes);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].name + " " + events[0].data, "decision {\"a\":1}");
  bytes += "ta: {\"count\":17}\n\n";
  events = take_events(bytes);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_THAT(missing_text(events[0]), HasSubstr("17 lines"));
  EXPECT_EQ(bytes, "");
}

}  // namespace
}  // namespace sluice::launcher
