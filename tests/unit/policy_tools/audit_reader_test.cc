#include "allowlists/tools/audit_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/unit/policy_tools/audit_lines.h"

namespace sluice::allowlists {
namespace {

using ::testing::ElementsAre;
using Kind = AuditLine::Kind;

Kind kind_of(std::string_view text) { return AuditLine().parse(text); }

Fd file_of(std::string_view bytes) {
  Fd fd = std::move(*sealed_memfd("audit", bytes));
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_SET), 0);
  return fd;
}

std::string path_of(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

struct Reading {
  std::vector<std::string> hosts;
  AuditCounts counts;
};

Reading read(std::string_view bytes, std::optional<std::string> agent = {}) {
  Reading reading;
  AuditReader reader(std::move(agent), [&](const AuditDecision& seen) -> Result<void> {
    reading.hosts.push_back(seen.spelling);
    return {};
  });
  EXPECT_TRUE(reader.read_open(file_of(bytes).get(), "a.jsonl"));
  reading.counts = reader.counts();
  return reading;
}

Result<AuditCounts> read_path(const std::string& path, std::optional<std::string> agent = {}) {
  return read_audit({path}, agent, [](const AuditDecision&) -> Result<void> { return {}; });
}

TEST(AuditLineReading, TakesWhatALineSaysOfItsDecision) {
  AuditLine parsed;
  ASSERT_EQ(parsed.parse(line({.agent = "coder-7",
                               .via = "transparent",
                               .host = "API.example.com.",
                               .port = 8443,
                               .verdict = "report",
                               .reason = "reported",
                               .would_deny = "not_listed",
                               .rule = "p.yaml:3",
                               .address = "203.0.113.7",
                               .bytes_up = 12,
                               .bytes_down = 18446744073709551615U,
                               .sni = "api.example.com"})),
            Kind::decision);
  const AuditDecision& seen = parsed.decision();
  EXPECT_EQ(seen.agent, "coder-7");
  EXPECT_EQ(seen.host->name(), "api.example.com");
  EXPECT_EQ(seen.spelling, "API.example.com.");
  EXPECT_EQ(seen.port, 8443);
  EXPECT_EQ(seen.verdict, Verdict::report);
  EXPECT_EQ(seen.reason, Reason::reported);
  EXPECT_EQ(seen.would_deny, Reason::not_listed);
  EXPECT_EQ(seen.rule, "p.yaml:3");
  EXPECT_EQ(seen.address->to_string(), "203.0.113.7");
  EXPECT_EQ(seen.bytes_up, 12U);
  EXPECT_EQ(seen.bytes_down, 18446744073709551615U);
  EXPECT_TRUE(seen.has_sni);
}

TEST(AuditLineReading, KeepsNothingOfTheLineBefore) {
  AuditLine parsed;
  ASSERT_EQ(parsed.parse(line({.host = "a.example.com",
                               .verdict = "report",
                               .reason = "reported",
                               .would_deny = "not_listed",
                               .address = "203.0.113.7",
                               .bytes_up = 9,
                               .sni = "a.example.com"})),
            Kind::decision);
  ASSERT_EQ(parsed.parse(R"({"agent":"b","via":"http","host":"b.example.com","port":80,)"
                         R"("verdict":"deny","reason":"not_listed"})"),
            Kind::decision);
  const AuditDecision& seen = parsed.decision();
  EXPECT_FALSE(seen.would_deny);
  EXPECT_FALSE(seen.address);
  EXPECT_EQ(seen.rule, "");
  EXPECT_EQ(seen.bytes_up, 0U);
  EXPECT_FALSE(seen.has_sni);
}

TEST(AuditLineReading, CutsARuleThatIsNoPlaceInAFile) {
  AuditLine parsed;
  ASSERT_EQ(parsed.parse(line({.host = "a.example.com", .rule = std::string(5000, 'r')})),
            Kind::decision);
  EXPECT_EQ(parsed.decision().rule.size(), 256U);
}

TEST(AuditLineReading, KnowsKeysThatALaterVersionAdds) {
  std::string text = line({.host = "a.example.com"});
  text.pop_back();
  EXPECT_EQ(kind_of(text + R"(,"new":{"agent":5,"x":[null,1,-1,1.5,true,"s"]},"n":[[]]})"),
            Kind::decision);
}

TEST(AuditLineReading, SkipsEventsAndExecs) {
  for (const std::string_view text : {
           R"({"ts":"x","agent":"coder-1","via":"event","event":"agent_end","end":{"code":1}})",
           R"({"ts":"x","agent":"","via":"event","event":"lines_dropped","count":4})",
           R"({"ts":"x","agent":"coder-1","via":"exec","path":"/bin/sh"})",
       }) {
    EXPECT_EQ(kind_of(text), Kind::event) << text;
  }
}

TEST(AuditLineReading, RefusesWhatSluicedDoesNotWrite) {
  const std::string good = line({.host = "a.example.com"});
  ASSERT_EQ(kind_of(good), Kind::decision);
  const auto with = [](Wrote wrote) { return line(wrote); };
  const std::vector<std::string> bad = {
      "",
      "{}",
      "[]",
      "1",
      "\"agent\"",
      "null",
      "[" + good + "]",
      good + good,
      good + "x",
      good.substr(0, good.size() - 1),
      std::string(60'000, '['),
      "{\"x\":" + std::string(60'000, '['),
      R"({"agent":"a",)" + good.substr(1),  // a key twice: which one was obeyed?
      R"({"agent":7,"via":"http","host":"a.example.com","port":80,"verdict":"deny",)"
      R"("reason":"denied"})",
      R"({"agent":"a","via":"http","host":{"x":1},"port":80,"verdict":"deny","reason":"denied"})",
      R"({"agent":"a","via":"http","host":"a.test","port":"80","verdict":"deny",)"
      R"("reason":"denied"})",
      R"({"agent":"a","via":"http","host":"a.test","port":-80,"verdict":"deny",)"
      R"("reason":"denied"})",
      R"({"agent":"a","via":"http","host":"a.test","port":65616,"verdict":"deny",)"
      R"("reason":"denied"})",
      R"({"agent":"a","via":"http","host":"a.test","port":80.0,"verdict":"deny",)"
      R"("reason":"denied"})",
      R"({"agent":"a","via":"http","port":80,"verdict":"deny","reason":"denied"})",
      with({.agent = "", .host = "a.test"}),
      with({.agent = "a\nb", .host = "a.test"}),
      with({.agent = "a: {}", .host = "a.test"}),
      with({.via = "carrier-pigeon", .host = "a.test"}),
      with({.host = "a.test", .verdict = "maybe"}),
      with({.host = "a.test", .reason = "because"}),
      with({.host = "a.test", .would_deny = "because"}),
      with({.host = "a.test", .verdict = "allow", .reason = "denied"}),
      with({.host = "a.test", .verdict = "deny", .reason = "listed"}),
      with({.host = "a.test", .verdict = "deny", .reason = "dns_failed"}),
      with({.host = "a.test", .address = "a.test"}),
      with({.host = ""}),
      with({.host = "a..test"}),
      with({.host = "127.1"}),
      with({.host = "a.test\"\n  evil: 1"}),
      with({.host = "a.test", .port = 0}),
      with({.via = "dns", .host = "a.test", .verdict = "deny", .reason = "not_listed"}),
      with({.via = "dns", .host = "192.0.2.1", .port = 0, .verdict = "deny", .reason = "never"}),
  };
  for (const std::string& text : bad) {
    EXPECT_EQ(kind_of(text), Kind::not_understood) << text.substr(0, 300);
  }
}

TEST(AuditLineReading, TakesAHostOfAnySpellingWhereTheFormWasTheReason) {
  AuditLine parsed;
  ASSERT_EQ(parsed.parse(line(refused("evil\n#\"..", "bad_host", 0))), Kind::decision);
  EXPECT_FALSE(parsed.decision().host);
  EXPECT_EQ(parsed.decision().spelling, "evil\n#\"..");
}

TEST(AuditReading, CountsWhatItDoesNotUnderstandAndTellsWhereTheFirstIs) {
  const std::string good = line({.host = "a.example.com"}) + "\n";
  const std::string event = R"({"via":"event","event":"denials_left_out","agent":"a","count":40})";
  const Reading reading = read(good + event + "\n" + "what?\n" + good + "\n" + good + "{\"age");
  EXPECT_THAT(reading.hosts, ElementsAre("a.example.com", "a.example.com", "a.example.com"));
  EXPECT_EQ(reading.counts.lines, 7U);
  EXPECT_EQ(reading.counts.events, 1U);
  EXPECT_EQ(reading.counts.decisions, 3U);
  EXPECT_THAT(notes_on(reading.counts),
              ElementsAre("3 lines were not understood, the first at a.jsonl:3",
                          "the log says that 40 of its lines were left out or lost"));
  EXPECT_THAT(notes_on(read(good + "x\n").counts),
              ElementsAre("1 line was not understood, at a.jsonl:2"));
  EXPECT_THAT(notes_on(read(good).counts), ElementsAre());
}

TEST(AuditReading, TakesALastLineWithoutANewlineAndLinesThatEndInCrLf) {
  const std::string good = line({.host = "a.example.com"});
  EXPECT_THAT(read(good + "\r\n" + good).hosts, ElementsAre("a.example.com", "a.example.com"));
}

TEST(AuditReading, StepsOverALineThatIsTooLongAndReadsOn) {
  const std::string good = line({.host = "a.example.com"});
  for (const std::size_t size : {max_audit_line, max_audit_line + 1, 4 * max_audit_line - 1,
                                 4 * max_audit_line, 4 * max_audit_line + 1, 20 * max_audit_line}) {
    // Padded with white space, so that nothing but its length speaks against it.
    const std::string longer = good + std::string(size - good.size(), ' ');
    const Reading reading = read(longer + "\n" + good + "\n" + longer);
    const bool fits = size == max_audit_line;
    EXPECT_EQ(reading.counts.lines, 3U) << size;
    EXPECT_EQ(reading.hosts.size(), fits ? 3U : 1U) << size;
    EXPECT_EQ(reading.counts.not_understood, fits ? 0U : 2U) << size;
  }
}

TEST(AuditReading, ReadsLinesThatCrossItsBufferInEveryWay) {
  std::string log;
  std::vector<std::string> expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string host = fmt::format("h{}.example.com", i);
    log += line({.host = host, .rule = std::string(static_cast<std::size_t>(i) % 251, 'r')}) + "\n";
    expected.push_back(host);
  }
  EXPECT_EQ(read(log).hosts, expected);
}

TEST(AuditReading, CountsOtherAgentsWhenOneIsAskedFor) {
  const std::string log =
      line({.agent = "a", .host = "a.test"}) + "\n" + line({.agent = "b", .host = "b.test"}) + "\n";
  const Reading reading = read(log, "b");
  EXPECT_THAT(reading.hosts, ElementsAre("b.test"));
  EXPECT_EQ(reading.counts.other_agents, 1U);
}

TEST(AuditReading, RefusesALogOfWhichNothingIsUnderstood) {
  const Fd fd = file_of("\x1f\x8b compressed\n\n");
  const auto counts = read_path(path_of(fd));
  ASSERT_FALSE(counts);
  EXPECT_EQ(to_string(counts.error()),
            "error: none of 2 lines is a line of an audit log, the first at " + path_of(fd) +
                ":1\nhint: name what sluiced or 'sluice run --audit' wrote, unpacked");
  EXPECT_TRUE(read_path(path_of(file_of(""))));
  EXPECT_TRUE(read_path(path_of(file_of(R"({"via":"exec"})"))));
}

TEST(AuditReading, RefusesAnAgentThatTheLogDoesNotKnow) {
  const auto counts = read_path(path_of(file_of(line({.host = "a.test"}))), "codr\x1b-1");
  ASSERT_FALSE(counts);
  EXPECT_EQ(to_string(counts.error()),
            "error: no decision is about agent 'codr\\x1b-1'\n"
            "hint: leave out --agent to see every agent's");
}

TEST(AuditReading, NamesTheFileThatItCannotRead) {
  EXPECT_EQ(to_string(read_path("/nowhere/a.jsonl").error()),
            "error: cannot open the audit log '/nowhere/a.jsonl': No such file or directory\n"
            "hint: name a file that exists and that you may read, or - for standard input");
  EXPECT_EQ(to_string(read_path("/").error()),
            "error: cannot read the audit log '/': Is a directory\n"
            "hint: name the log itself, or - for standard input");
}

TEST(AuditReading, StopsWhenWhatItFeedsFails) {
  const Fd fd = file_of(line({.host = "a.test"}) + "\n" + line({.host = "b.test"}));
  int taken = 0;
  const auto counts = read_audit({path_of(fd)}, {}, [&](const AuditDecision&) -> Result<void> {
    ++taken;
    return fail(Errc::bad_config, "enough");
  });
  EXPECT_EQ(counts.error().what, "enough");
  EXPECT_EQ(taken, 1);
}

}  // namespace
}  // namespace sluice::allowlists
