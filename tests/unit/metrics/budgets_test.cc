// Byte budgets on the page: of those that have one, and of all beyond the cap together.
#include "metrics/budgets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <vector>

#include "metrics/registry.h"

namespace sluice::metrics {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

struct Fixed : Budgets {
  explicit Fixed(std::uint64_t spent) { now[0] = BudgetUse{.spent = spent, .limit = 1000}; }
  BudgetUses uses() const override { return now; }
  BudgetUses now;
};

std::vector<std::string> budget_lines(const Registry& registry) {
  std::vector<std::string> lines;
  std::istringstream in(registry.exposition());
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("sluice_budget_")) lines.push_back(line.substr(14));
  }
  return lines;
}

TEST(ByteBudgets, AreShownOfThoseThatHaveOneInThatDirection) {
  Registry registry;
  const auto none = registry.agent("none");
  const auto agent = registry.agent("a");
  const auto budgets = std::make_shared<Fixed>(7);
  agent->has_budgets(budgets);
  EXPECT_THAT(budget_lines(registry), ElementsAre(R"(spent_bytes{agent="a",direction="up"} 7)",
                                                  R"(limit_bytes{agent="a",direction="up"} 1000)"));
  budgets->now = {std::nullopt, BudgetUse{.spent = 0, .limit = 5}};
  EXPECT_THAT(budget_lines(registry), ElementsAre(R"(spent_bytes{agent="a",direction="down"} 0)",
                                                  R"(limit_bytes{agent="a",direction="down"} 5)"))
      << "as the policy of now has them";
}

TEST(ByteBudgets, OfAnAgentThatHasGoneStayForTheGraceAndGoOn) {
  std::chrono::steady_clock::time_point now{};
  Registry registry({.version = "", .agent_cap = 9, .grace = 300s, .now = [&] { return now; }});
  const auto budgets = std::make_shared<Fixed>(7);
  registry.agent("a")->has_budgets(budgets);
  now += 299s;
  budgets->now[0]->spent = 0;
  EXPECT_THAT(budget_lines(registry), ElementsAre(R"(spent_bytes{agent="a",direction="up"} 0)",
                                                  R"(limit_bytes{agent="a",direction="up"} 1000)"))
      << "a new window began";
  now += 1s;
  EXPECT_THAT(budget_lines(registry), IsEmpty());
  EXPECT_EQ(budgets.use_count(), 1) << "nothing of it is kept";
}

TEST(ByteBudgets, OfANameAreOneHoweverManyRegistrationsShareThem) {
  Registry registry({.version = "", .agent_cap = 1});
  const auto first = registry.agent("a");
  const auto budgets = std::make_shared<Fixed>(7);
  for (const char* name : {"a", "b"}) {  // one of its own, and one beyond the cap
    auto old = registry.agent(name);
    const auto again = registry.agent(name);
    old->has_budgets(budgets);
    again->has_budgets(budgets);
    const auto both = budget_lines(registry);
    EXPECT_THAT(both, testing::Each(testing::MatchesRegex(".* (7|1000)")));
    old.reset();
    EXPECT_EQ(budget_lines(registry), both);
  }
}

TEST(ByteBudgets, BeyondTheCapAreASumOfThoseThatAreThere) {
  Registry registry({.version = "", .agent_cap = 1});
  const auto own = registry.agent("own");
  std::vector<std::shared_ptr<AgentMetrics>> agents;
  for (std::uint64_t i = 0; i < 50; ++i) {
    agents.push_back(registry.agent("agent-" + std::to_string(i)));
    agents.back()->has_budgets(std::make_shared<Fixed>(i));
  }
  EXPECT_THAT(budget_lines(registry),
              ElementsAre(R"(spent_bytes{agent="other",direction="up"} 1225)",
                          R"(limit_bytes{agent="other",direction="up"} 50000)"));
  agents.resize(2);
  EXPECT_THAT(budget_lines(registry),
              ElementsAre(R"(spent_bytes{agent="other",direction="up"} 1)",
                          R"(limit_bytes{agent="other",direction="up"} 2000)"));
  agents.clear();
  EXPECT_THAT(budget_lines(registry), IsEmpty()) << "the series of many keeps nobody's";
}

}  // namespace
}  // namespace sluice::metrics
