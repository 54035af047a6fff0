#include "base/bounded_child.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace sluice {
namespace {

using namespace std::chrono_literals;

TEST(ABoundedChild, IsKilledWithAllItStartedWhenItsTimeIsOver) {
  const auto begin = std::chrono::steady_clock::now();
  const auto told = in_bounded_child(100ms, [](const Tell& tell) {
    tell("begun");
    if (::fork() == 0) ::pause();
    std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(told);
  EXPECT_EQ(told->text, "begun\n");
  EXPECT_FALSE(told->is_finished);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
  const auto whole_told = in_bounded_child(20s, [](const Tell& tell) { tell("all"); });
  ASSERT_TRUE(whole_told);
  EXPECT_TRUE(whole_told->is_finished);
}

}  // namespace
}  // namespace sluice
