#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "launcher/sessions/admin_client.h"
#include "launcher/top/frame.h"
#include "launcher/top/rule_to_paste.h"
#include "launcher/top/screen.h"
#include "launcher/top/view.h"

namespace sluice::launcher {
namespace {

using namespace std::chrono_literals;
using testing::Each;
using testing::HasSubstr;
using testing::Not;
using Style = FrameLine::Style;

TopAgent agent(std::string name, std::uint64_t allowed = 0, std::uint64_t denied = 0) {
  TopAgent agent;
  agent.name = std::move(name);
  agent.since = "2026-01-02T03:04:05.000Z";
  agent.connections = 3;
  agent.allowed = allowed;
  agent.denied = denied;
  agent.bytes_down = allowed * 2048;
  return agent;
}

View sample_view(std::size_t agents = 1) {
  Sample before;
  Sample now;
  for (std::size_t i = 0; i < agents; ++i) {
    before.agents.push_back(agent("coder-" + std::to_string(i)));
    now.agents.push_back(agent("coder-" + std::to_string(i), 10 + i, 2));
  }
  now.at = before.at + 2s;
  now.blocked.push_back({.agent = "coder-0",
                         .host = "evil.test",
                         .port = 443,
                         .verdict = "deny",
                         .reason = "not_listed",
                         .count = 1234,
                         .over = 0,
                         .to_allow = "- {host: evil.test, ports: [443]}"});
  now.decisions.push_back({.time = "2026-01-02T03:04:05.678Z",
                           .agent = "coder-0",
                           .via = "http",
                           .host = "evil\x1b[2J\xd0\xb5.test",
                           .port = 80,
                           .verdict = "deny",
                           .reason = "bad_host",
                           .json = "{}"});
  return view_of(std::move(now), before, "2026-01-02T03:04:06Z");
}

std::vector<std::string> texts(const std::vector<FrameLine>& lines) {
  std::vector<std::string> all;
  for (const FrameLine& line : lines) all.push_back(line.text);
  return all;
}

TEST(View, TellsHowFastEachAgentGoes) {
  const View view = sample_view();
  EXPECT_DOUBLE_EQ(view.rates[0].requests, 6);
  EXPECT_DOUBLE_EQ(view.rates[0].bytes_down, 10240);
  Sample again;
  again.agents.push_back(agent("coder-0", 5));
  again.agents[0].since = "2026-01-02T04:00:00.000Z";
  const View anew = view_of(again, view.now, "");
  EXPECT_DOUBLE_EQ(anew.rates[0].requests, 0) << "one that registered anew began at 0";
}

TEST(View, IsSortedByWhatAgentsDo) {
  View view = sample_view(3);
  sort_agents(view, TopOrder::activity);
  EXPECT_EQ(view.now.agents[0].name, "coder-2");
  EXPECT_DOUBLE_EQ(view.rates[0].requests, 7);
  view.now.agents[2].denied = 99;
  sort_agents(view, TopOrder::denied);
  EXPECT_EQ(view.now.agents[0].name, "coder-0");
}

TEST(View, AsJsonHasTheRuleAndIsOneLineOfAscii) {
  const std::string text = to_json(sample_view());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["agents"][0]["requests_per_second"], 6);
  EXPECT_EQ(json["blocked"][0]["to_allow"], "- {host: evil.test, ports: [443]}");
}

TEST(Frame, FitsEveryScreenWhateverThereIs) {
  const View view = sample_view(1000);
  for (const ScreenSize size : {ScreenSize{80, 24}, {40, 10}, {20, 4}, {200, 60}, {1, 1}}) {
    const auto lines = frame(view, size, "q quit");
    EXPECT_LE(lines.size(), size.rows);
    for (const FrameLine& line : lines) {
      EXPECT_LE(line.text.size(), size.columns);
      for (const char c : line.text) EXPECT_TRUE(c >= ' ' && c < 0x7f) << line.text;
    }
  }
}

TEST(Frame, EscapesATimeThatIsNone) {
  View view = sample_view();
  view.now.agents.front().since = "0123456789T\x1b[31mABC";
  EXPECT_THAT(texts(frame(view, {80, 24})), Each(Not(HasSubstr("\x1b"))));
}

TEST(Sample, RefusesWhatIsNestedDeeperThanAnySluicedWrites) {
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  Sample sample;
  const auto page = [](const std::string& value) {
    return R"({"decisions":[{"ts":"","agent":"a","via":"http","host":"h","port":1,"verdict":"deny",)"
           R"("reason":"denied","would_deny":"","x":)" +
           value + "}]}";
  };
  EXPECT_TRUE(add_decisions(sample, page("[[1]]")));
  EXPECT_FALSE(add_decisions(sample, page(deep)));
  EXPECT_EQ(sample.decisions.size(), 1U);
}

TEST(Frame, OfEightyByTwentyFourShowsAllThatMatters) {
  const auto all = texts(frame(sample_view(1000), {80, 24}, "q quit"));
  EXPECT_EQ(all.size(), 24U);
  EXPECT_THAT(all[0], HasSubstr("1000 agents, 3000 connections"));
  EXPECT_THAT(all[0], testing::EndsWith("q quit"));
  EXPECT_THAT(all, testing::Contains(HasSubstr("... and 986 more")));
  EXPECT_THAT(all, testing::Contains(HasSubstr("- {host: evil.test, ports: [443]}")));
  EXPECT_THAT(all, testing::Contains(HasSubstr("1.2K coder-0")));
  EXPECT_THAT(all, testing::Contains(HasSubstr("evil\\x1b[2J\\xd0\\xb5.test:80")));
}

TEST(Frame, GivesUpColumnsBeforeNames) {
  const auto wide = texts(frame(sample_view(), {80, 24}));
  EXPECT_THAT(wide[2], HasSubstr("DOWN/S"));
  EXPECT_THAT(wide[2], HasSubstr("SINCE"));
  const auto narrow = texts(frame(sample_view(), {40, 10}));
  EXPECT_THAT(narrow[1], HasSubstr("AGENT"));
  EXPECT_THAT(narrow[1], HasSubstr("DENIED"));
  EXPECT_THAT(narrow[1], Not(HasSubstr("SINCE")));
}

TEST(Frame, ShowsTheFullerBudgetWhereThereIsOneAndStillFits) {
  View view = sample_view(3);
  EXPECT_THAT(texts(frame(view, {79, 24})), Each(Not(HasSubstr("BUDGET"))));
  const auto budget = [](std::string direction, std::uint64_t spent) {
    return TopBudget{std::move(direction), spent, 1000, 3600, "2026-01-02T04:00:00.000Z"};
  };
  view.now.agents[0].budgets = {budget("up", 100), budget("down", 879)};
  view.now.agents[1].budgets = {budget("up", 999), budget("down", 0)};
  view.now.agents[2].budgets = {budget("up", 1200)};
  view.now.agents.push_back(agent("without"));
  view.rates.emplace_back();
  const auto all = texts(frame(view, {79, 24}));
  EXPECT_THAT(all[2], testing::EndsWith(" DENIED BUDGET"));
  EXPECT_THAT(all[2], HasSubstr("SINCE")) << "beside all other columns";
  EXPECT_THAT(all[3], testing::EndsWith("    87%"));
  EXPECT_THAT(all[4], testing::EndsWith("    99%")) << "not used up yet";
  EXPECT_THAT(all[5], testing::EndsWith("   100%"));
  EXPECT_THAT(all[6], testing::EndsWith("      -"));
  for (const std::string& line : all) EXPECT_LE(line.size(), 79U) << line;
  const auto json = nlohmann::json::parse(to_json(view));
  EXPECT_EQ(json["agents"][0]["budgets"]["down"]["spent"], 879);
  EXPECT_EQ(json["agents"][0]["budgets"]["up"]["resets"], "2026-01-02T04:00:00.000Z");
  EXPECT_EQ(json["agents"][3]["budgets"], nlohmann::json::object());
}

TEST(Frame, SaysThatNothingRunsAndWhoDidNotAnswer) {
  View view;
  view.now.notes.push_back("no \x1b answer");
  const auto all = texts(frame(view, {80, 24}));
  EXPECT_THAT(all,
              testing::ElementsAre(HasSubstr("0 agents"), "no \\x1b answer", "nothing is running"));
}

TEST(ShortCounts, AreFourFiguresAtMost) {
  EXPECT_EQ(short_count(0), "0");
  EXPECT_EQ(short_count(0.25), "0.2");
  EXPECT_EQ(short_count(17), "17");
  EXPECT_EQ(short_count(4210), "4.2K");
  EXPECT_EQ(short_count(310e6), "310M");
  EXPECT_EQ(short_count(2048, 1024), "2.0K");
}

TEST(Drawing, ColoursOnlyWhereColourIsWanted) {
  const std::vector<FrameLine> lines{{"a", Style::title}, {"b", Style::denied}};
  EXPECT_EQ(drawn(lines, WithColour::no), "\x1b[H\x1b[2Ka\r\n\x1b[2Kb\x1b[J");
  EXPECT_THAT(drawn(lines, WithColour::yes), HasSubstr("\x1b[31mb\x1b[0m"));
}

TEST(RuleToPaste, IsWhatPolicySuggestWouldWrite) {
  EXPECT_EQ(rule_to_paste("a", "api.example.com", 443, Reason::not_listed),
            "- {host: api.example.com, ports: [443]}");
  EXPECT_EQ(rule_to_paste("a", "api.example.com", 0, Reason::not_listed),
            "- {host: api.example.com}");
  EXPECT_EQ(rule_to_paste("a", "8.8.8.8", 80, Reason::not_listed),
            "- {cidr: \"8.8.8.8/32\", ports: [80]}");
  EXPECT_EQ(rule_to_paste("a", "api.example.com", 443, Reason::denied), "");
  EXPECT_EQ(rule_to_paste("a", "169.254.169.254", 80, Reason::address_forbidden), "");
  EXPECT_EQ(rule_to_paste("a", "no host\x1b", 80, Reason::bad_host), "");
}

TEST(AdminClient, TellsWhatSluicedSaysOfARefusal) {
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}\n").value(), "{}\n");
  const auto refused =
      body_of("HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"there is no x\",\"hint\":\"ask y\"}");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "sluiced answers '404 Not Found': there is no x");
  EXPECT_EQ(refused.error().hint, "ask y");
  EXPECT_FALSE(body_of("SSH-2.0\r\n"));
}

}  // namespace
}  // namespace sluice::launcher
