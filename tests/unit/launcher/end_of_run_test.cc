#include "launcher/supervision/end_of_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample.h"

namespace sluice::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view hint =
    "where a read-only root is why it failed, --learn-writes names what it would write";

Plan sample_plan() { return *make_plan(sample_request(), sample_machine()); }

const ErofsWatch heard_nothing;

EndOfRun failed(const ErofsWatch& heard = heard_nothing) {
  EndOfRun end;
  end.status = 1;
  end.was_running = true;
  end.heard = &heard;
  return end;
}

std::string first_line(const EndOfRun& end, const Plan& plan = sample_plan()) {
  const auto lines = tell_end(plan, end);
  return lines.size() > 1 ? lines.front() : "";
}

TEST(TheEndOfARun, NamesWhatProgramsSaidIsReadOnlyWhenItFailed) {
  ErofsWatch heard;
  heard.feed("open /etc/x: read-only file system\nbash: /opt/y: Read-only file system\n");
  EndOfRun end = failed(heard);
  EXPECT_EQ(first_line(end),
            "it failed, and its programs said \"Read-only file system\" of '/etc/x' and '/opt/y' "
            "(their words): --tmpfs PATH or --seed PATH allows that, and --learn-writes names all "
            "that it would write");
  end.status = 0;
  EXPECT_EQ(first_line(end), "");
}

TEST(TheEndOfARun, EscapesAndCutsWhatProgramsSaid) {
  ErofsWatch heard;
  heard.feed("open '/\xc2\x9b/\u202e': Read-only file system\n");
  heard.feed("open '/" + std::string(300, 'x') + "': Read-only file system\n");
  for (const char* name : {"a", "b", "c", "d"})
    heard.feed(std::string("open '/") + name + "': Read-only file system\n");
  EXPECT_THAT(first_line(failed(heard)),
              HasSubstr("of '/\\u{9b}/\\u{202e}', '/" + std::string(199, 'x') +
                        "'..., '/a', '/b', '/c' and others (their words)"));
}

TEST(TheEndOfARun, SaysOfWhatIsProtectedInTheWorkspaceThatNoOptionOpensIt) {
  const Plan plan = sample_plan();
  ErofsWatch heard;
  heard.feed("open '" + plan.workspace + "/.git/hooks/x': Read-only file system\n");
  EXPECT_THAT(first_line(failed(heard)), HasSubstr("what runs code outside later stays as it is"));
  EXPECT_THAT(first_line(failed(heard)), Not(HasSubstr("--learn-writes")));
  heard.feed("open '/etc/x': Read-only file system\n");
  const auto lines = tell_end(plan, failed(heard));
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_THAT(lines[1], HasSubstr("of '/etc/x' (their words): --tmpfs"));
}

TEST(TheEndOfARun, SaysTheWordsAlsoWhereNoProgramNamedAPath) {
  ErofsWatch heard;
  heard.feed("tar: ./x: Cannot open: Read-only file system\n");
  EXPECT_THAT(
      first_line(failed(heard)),
      StartsWith("it failed, and its programs said \"Read-only file system\" (their words): "
                 "--tmpfs"));
}

TEST(TheEndOfARun, HintsAtTheRootOnlyWhereNobodyHasHeardWhyItFailed) {
  EXPECT_EQ(first_line(failed()), hint);
  EndOfRun end = failed();
  end.was_heard = true;
  EXPECT_EQ(first_line(end), "");
  end = failed();
  end.status = 0;
  EXPECT_EQ(first_line(end), "");
  end.status = 137;
  EXPECT_EQ(first_line(end), "");
  end = failed();
  end.timed_out = true;
  EXPECT_EQ(first_line(end), "");
  end = failed();
  end.account.totals.emplace();
  end.account.totals->denied["not_listed"] = 1;
  EXPECT_EQ(first_line(end), "");
}

TEST(TheEndOfARun, SaysWhichLimitKeptTheAgentFromStarting) {
  EndOfRun end;
  EXPECT_TRUE(tell_end(sample_plan(), end).empty());
  end.limit = ", its memory limit";
  EXPECT_THAT(tell_end(sample_plan(), end),
              ElementsAre("the agent did not start, its memory limit"));
}

}  // namespace
}  // namespace sluice::launcher
