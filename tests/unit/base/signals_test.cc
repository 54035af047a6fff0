#include "base/signals.h"

#include <gtest/gtest.h>

#include <thread>

namespace sluice {
namespace {

bool is_blocked(int number) {
  sigset_t mask;
  return ::pthread_sigmask(SIG_BLOCK, nullptr, &mask) == 0 && ::sigismember(&mask, number) == 1;
}

TEST(AThreadWithoutSignals, TakesNoneAndLeavesThoseOfItsStarterAsTheyWere) {
  sigset_t own;
  ::sigemptyset(&own);
  ::sigaddset(&own, SIGUSR1);
  sigset_t before;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &own, &before), 0);
  bool has_none = false;
  start_without_signals<std::thread>([&] {
    has_none = is_blocked(SIGTERM) && is_blocked(SIGPIPE) && is_blocked(SIGUSR1);
  }).join();
  EXPECT_TRUE(has_none);
  EXPECT_TRUE(is_blocked(SIGUSR1));
  EXPECT_FALSE(is_blocked(SIGTERM));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace sluice
