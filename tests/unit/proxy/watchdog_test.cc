#include "proxy/daemon/watchdog.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/fd.h"
#include "proxy/daemon/spawn.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// Where the service manager listens; it is told in abstract, so that no file is left.
class Watchdog : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = "@sluice-watchdog-test-" + std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(::bind(manager_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  void TearDown() override {
    for (const char* const variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
      ::unsetenv(variable);
    }
  }

  // What it was told since the last call, when so much was, and a while later.
  std::vector<std::string> told(std::size_t at_least) {
    std::vector<std::string> all;
    control_.restart();
    const auto until = Clock::now() + 60s;
    while (all.size() < at_least && Clock::now() < until) {
      control_.run_one_for(10ms);
      hear(all);
    }
    control_.run_for(100ms);
    while (control_.poll() > 0) continue;
    hear(all);
    return all;
  }
  void hear(std::vector<std::string>& all) {
    char text[256];
    for (;;) {
      const ssize_t size = ::recv(manager_.get(), text, sizeof text, MSG_DONTWAIT);
      if (size < 0) return;
      all.emplace_back(text, static_cast<std::size_t>(size));
    }
  }

  Fd manager_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  asio::io_context control_{1};
  asio::io_context other_{1};
};

TEST_F(Watchdog, HearsNothingMoreUntilEveryThreadHasAnswered) {
  spawn(control_, feed_watchdog({&control_, &other_}, 4ms, [] { return true; }));
  EXPECT_EQ(told(1), std::vector<std::string>{"WATCHDOG=1"}) << "the other thread is stuck";
  other_.poll();
  EXPECT_EQ(told(1), std::vector<std::string>{"WATCHDOG=1"}) << "it has come round once";
}

TEST_F(Watchdog, IsToldAgainAndAgainByThreadsThatWork) {
  spawn(control_, feed_watchdog({&control_}, 4ms, [] { return true; }));
  EXPECT_GT(told(3).size(), 2U);
}

TEST_F(Watchdog, IsNotToldByOneThatServesNoMore) {
  spawn(control_, feed_watchdog({&control_}, 4ms, [] { return false; }));
  EXPECT_TRUE(told(0).empty());
}

TEST_F(Watchdog, WatchesTheProcessThatItNames) {
  EXPECT_EQ(watchdog_limit(), 0us);
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  EXPECT_EQ(watchdog_limit(), 30s) << "no process is named: the one that took over";
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(watchdog_limit(), 30s);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(watchdog_limit(), 0us);
  ::unsetenv("WATCHDOG_PID");
  for (const char* const wrong : {"", "x", "-1", "3s"}) {
    ::setenv("WATCHDOG_USEC", wrong, 1);
    EXPECT_EQ(watchdog_limit(), 0us) << wrong;
  }
}

}  // namespace
}  // namespace sluice::proxy
