#include "metrics/recent.h"

#include <gmock/gmock.h>

#include "metrics/audit_line.h"

namespace sluice::metrics {
namespace {

using testing::ElementsAre;

AuditLine line(std::string agent, std::string host, Verdict verdict = Verdict::deny) {
  AuditLine line;
  line.agent = std::move(agent);
  line.via = Via::connect;
  line.host = std::move(host);
  line.port = 443;
  line.verdict = verdict;
  line.reason = verdict == Verdict::deny ? Reason::not_listed : Reason::listed;
  line.rule = "default";
  return line;
}

void tell(Recent& recent, const AuditLine& said) { recent.add(said, to_json(said)); }

std::vector<std::uint64_t> numbers(const Recent::Entries& entries) {
  std::vector<std::uint64_t> all;
  for (const auto& entry : entries) all.push_back(entry->number);
  return all;
}

TEST(Recent, KeepsTheLinesAsTheyStandInTheFileAndAnswersTheLastOfThem) {
  Recent recent;
  const AuditLine first = line("a", "one.test");
  tell(recent, first);
  tell(recent, line("b", "two.test", Verdict::allow));
  tell(recent, line("a", "three.test"));
  EXPECT_THAT(numbers(recent.last({}, 10)), ElementsAre(1, 2, 3));
  EXPECT_THAT(numbers(recent.last({}, 2)), ElementsAre(2, 3));
  EXPECT_THAT(numbers(recent.last({.agent = "a"}, 10)), ElementsAre(1, 3));
  EXPECT_THAT(numbers(recent.last({.verdict = Verdict::allow}, 10)), ElementsAre(2));
  EXPECT_EQ(recent.last({}, 10).front()->json + "\n", to_json(first));
}

TEST(Recent, PassesOverWhatIsNoDecision) {
  Recent recent;
  AuditLine exec = line("a", "");
  exec.via = Via::exec;
  exec.members = R"(,"program":"/bin/true")";
  tell(recent, exec);
  EXPECT_EQ(recent.newest(), 0U);
  EXPECT_TRUE(recent.last({}, 10).empty());
}

TEST(Recent, IsBoundedInLinesAndSaysHowManyAReaderMissed) {
  Recent recent;
  tell(recent, line("a", "first.test"));
  const std::uint64_t reached = recent.newest();
  for (std::size_t i = 0; i < Recent::most_lines + 10; ++i) tell(recent, line("a", "x.test"));
  EXPECT_EQ(recent.last({}, 1'000'000).size(), Recent::most_lines);
  const auto next = recent.following(reached, {}, 5);
  EXPECT_EQ(next.lost, 10U);
  EXPECT_THAT(numbers(next.entries), ElementsAre(12, 13, 14, 15, 16));
  EXPECT_EQ(next.reached, 16U);
  const auto after = recent.following(next.reached, {}, 1);
  EXPECT_EQ(after.lost, 0U);
  EXPECT_THAT(numbers(after.entries), ElementsAre(17));
}

TEST(Recent, IsBoundedInBytes) {
  Recent recent;
  AuditLine big = line("a", "x.test");
  big.path.assign(10'000, 'p');
  for (int i = 0; i < 1000; ++i) tell(recent, big);
  std::size_t bytes = 0;
  for (const auto& entry : recent.last({}, 1'000'000)) bytes += entry->json.size();
  EXPECT_LE(bytes, Recent::most_bytes);
  EXPECT_GT(bytes, Recent::most_bytes / 2);
}

TEST(Recent, GoesOnPastWhatAReaderDoesNotWant) {
  Recent recent;
  for (int i = 0; i < 10; ++i) tell(recent, line("other", "x.test"));
  tell(recent, line("mine", "x.test"));
  const auto next = recent.following(0, {.agent = "mine"}, 5);
  EXPECT_THAT(numbers(next.entries), ElementsAre(11));
  EXPECT_EQ(next.lost, 0U);
  const auto none = recent.following(next.reached, {.agent = "mine"}, 5);
  EXPECT_TRUE(none.entries.empty());
  EXPECT_EQ(none.reached, 11U);
}

TEST(Recent, TellsWhatHasNoLineToWhoeverFollowsDenials) {
  Recent recent;
  recent.leave_out("a", 17);
  const auto next = recent.following(0, {.agent = "a", .verdict = Verdict::deny}, 5);
  ASSERT_EQ(next.entries.size(), 1U);
  EXPECT_FALSE(next.entries.front()->verdict);
  EXPECT_EQ(next.entries.front()->json, "17");
  EXPECT_TRUE(recent.following(0, {.agent = "", .verdict = Verdict::allow}, 5).entries.empty());
  EXPECT_TRUE(recent.last({}, 5).empty()) << "it is no decision";
  ASSERT_EQ(recent.top().left_out.size(), 1U);
  EXPECT_EQ(recent.top().left_out.front().count, 17U);
}

}  // namespace
}  // namespace sluice::metrics
