#include "base/bounded_child.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

namespace sluice {
namespace {

using namespace std::chrono_literals;

TEST(ABoundedChild, IsKilledWithAllItStartedWhenItsTimeIsOver) {
  const auto told = in_bounded_child(3s, [](const Tell& tell) {
    tell("begun");
    if (::fork() == 0) ::pause();
    for (;;) ::pause();
  });
  ASSERT_TRUE(told);
  EXPECT_EQ(told->text, "begun\n");
  EXPECT_FALSE(told->is_finished);
  const auto whole_told = in_bounded_child(60s, [](const Tell& tell) { tell("all"); });
  ASSERT_TRUE(whole_told);
  EXPECT_TRUE(whole_told->is_finished);
}

}  // namespace
}  // namespace sluice
