#include "proxy/daemon/budget_keeper.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/io.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class TheBudgetFile : public testing::Test {
 protected:
  TheBudgetFile() {
    std::string shape = (fs::temp_directory_path() / "sluice-budgets-XXXXXX").native();
    directory = ::mkdtemp(shape.data());
    file = directory / "budgets";
  }
  ~TheBudgetFile() override { fs::remove_all(directory); }

  fs::path directory;
  std::string file;
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
};

TEST_F(TheBudgetFile, GivesNobodyANewBudgetAfterARestart) {
  const auto now = Allowance::Utc::now();
  {
    Allowances allowances;
    const auto keeper = BudgetKeeper::start(allowances, file, 1h);
    ASSERT_TRUE(keeper) << to_string(keeper.error());
    allowances.of("coder-1")->take(metrics::Direction::up, day, 900, now);
  }
  Allowances allowances;
  const auto keeper = BudgetKeeper::start(allowances, file, 1h);
  ASSERT_TRUE(keeper);
  EXPECT_EQ(allowances.of("coder-1")->take(metrics::Direction::up, day, 900, now), 100U);
}

TEST_F(TheBudgetFile, IsWrittenWhileSluicedRuns) {
  Allowances allowances;
  const auto keeper = BudgetKeeper::start(allowances, file, 5ms);
  ASSERT_TRUE(keeper);
  allowances.of("coder-1")->take(metrics::Direction::down, day, 7, Allowance::Utc::now());
  std::string text;
  for (int i = 0; i < 12'000 && text.find(" 7\n") == std::string::npos; ++i) {
    std::this_thread::sleep_for(5ms);
    text = read_file(file, 4096).value_or("");
  }
  EXPECT_NE(text.find("coder-1 download 86400 "), std::string::npos) << text;
}

TEST_F(TheBudgetFile, IsLeftToAnotherWhileItsKeeperRests) {
  Allowances allowances;
  const auto keeper = BudgetKeeper::start(allowances, file, 1h);
  ASSERT_TRUE(keeper);
  const auto use = [&] {
    allowances.of("coder-1")->take(metrics::Direction::up, day, 1, Allowance::Utc::now());
  };
  const auto rest = [&] {
    (*keeper)->rest();
    for (int i = 0; i < 12'000 && !(*keeper)->rests(); ++i) std::this_thread::sleep_for(5ms);
    ASSERT_TRUE((*keeper)->rests());
  };
  use();
  rest();
  EXPECT_NE(read_file(file, 4096)->find(" 1\n"), std::string::npos);  // saved once more
  use();
  EXPECT_EQ(read_file(file, 4096)->find(" 2\n"), std::string::npos);
  (*keeper)->go_on();
  EXPECT_FALSE((*keeper)->rests());
  rest();
  EXPECT_NE(read_file(file, 4096)->find(" 2\n"), std::string::npos);
}

TEST_F(TheBudgetFile, ReplacedByOneThatKnowsMoreIsNotRead) {
  std::ofstream(file) << "something else\n";
  Allowances allowances;
  const auto keeper = BudgetKeeper::start(allowances, file, 1h, BudgetKeeper::Load::no);
  ASSERT_TRUE(keeper) << to_string(keeper.error());
  EXPECT_EQ(read_file(file, 4096).value_or(""), "sluice-budgets 1\n");
}

TEST_F(TheBudgetFile, ThatCannotBeKeptIsAnErrorAtOnce) {
  Allowances allowances;
  EXPECT_FALSE(BudgetKeeper::start(allowances, (directory / "none" / "budgets").native(), 1h));
  std::ofstream(file) << "something else\n";
  const auto keeper = BudgetKeeper::start(allowances, file, 1h);
  ASSERT_FALSE(keeper);
  EXPECT_EQ(to_string(keeper.error()),
            "error: '" + file +
                "': line 1 is not what was saved\nhint: remove the file: what "
                "agents used of their budgets counts from nothing then");
}

}  // namespace
}  // namespace sluice::proxy
