#include <gtest/gtest.h>

#include "launcher/control.h"
#include "launcher/sandbox/init.h"

namespace sluice::launcher {
namespace {

TEST(TheExitStatus, IsTheCommandsOrOfItsSignal) {
  EXPECT_EQ(exit_status(0), 0);
  EXPECT_EQ(exit_status(7 << 8), 7);
  EXPECT_EQ(exit_status(9), 137);
  EXPECT_EQ(exit_status(15), 143);
}

TEST(TheControlMessage, GivesDescriptorsByNameEachOnce) {
  ControlMessage message;
  attach(message, "dns_udp", Fd(::dup(0)));
  attach(message, "dns", Fd(::dup(0)));
  EXPECT_FALSE(detach(message, "tproxy4"));
  EXPECT_FALSE(detach(message, "dns_"));
  const int second = message.fds[1].get();
  EXPECT_EQ(detach(message, "dns").get(), second);
  EXPECT_FALSE(detach(message, "dns"));
  EXPECT_TRUE(detach(message, "dns_udp"));
}

}  // namespace
}  // namespace sluice::launcher
