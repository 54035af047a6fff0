#include "launcher/supervision/stderr_carrier.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

TEST(TheCarriersAccount, ComesAsItWasGiven) {
  CarrierAccount account;
  account.is_mid_line = true;
  account.heard.feed("touch: cannot touch '/etc/x': Read-only file system\n");
  const CarrierAccount read = CarrierAccount::decode(account.encode());
  EXPECT_TRUE(read.is_mid_line);
  EXPECT_EQ(read.heard.paths(), std::vector<std::string>{"/etc/x"});
  EXPECT_FALSE(CarrierAccount::decode(CarrierAccount{}.encode()).is_mid_line);
  EXPECT_FALSE(CarrierAccount::decode("").heard.has_heard());
}

}  // namespace
}  // namespace sluice::launcher
