#include "launcher/plan/policy_sandbox.h"

#include <gmock/gmock.h>

namespace sluice::launcher {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

Machine machine() {
  Machine machine;
  machine.home = "/home/someone";
  return machine;
}

TEST(PolicySandbox, AddsWhatNoOptionSays) {
  RunOptions options;
  const allowlists::Sandbox policy{.timeout = 30min,
                                   .tmpfs = {{"~/cache", 65536}},
                                   .masks = {"~/.netrc", "/etc/tool"},
                                   .requires_landlock = true};
  ASSERT_TRUE(tighten(options, policy, machine()));
  EXPECT_EQ(options.timeout, 30min);
  ASSERT_EQ(options.tmpfs.size(), 1U);
  EXPECT_EQ(options.tmpfs[0].path, "/home/someone/cache");
  EXPECT_EQ(options.tmpfs[0].bytes, 65536U);
  EXPECT_THAT(options.policy_masks, testing::ElementsAre("/home/someone/.netrc", "/etc/tool"));
  EXPECT_TRUE(options.require_landlock);
}

TEST(PolicySandbox, KeepsTheTighterAndRefusesTheLooser) {
  RunOptions options;
  options.timeout = 10min;
  options.tmpfs = {{"/tmp", 4096}};
  const allowlists::Sandbox policy{.timeout = 30min, .tmpfs = {{"/tmp", 65536}}};
  ASSERT_TRUE(tighten(options, policy, machine()));
  EXPECT_EQ(options.timeout, 10min);
  ASSERT_EQ(options.tmpfs.size(), 1U);
  EXPECT_EQ(options.tmpfs[0].bytes, 4096U);
  options.timeout = 31min;
  EXPECT_THAT(tighten(options, policy, machine()).error().what, HasSubstr("--timeout is more"));
  options.timeout.reset();
  options.tmpfs[0].bytes = 65537;
  EXPECT_THAT(tighten(options, policy, machine()).error().what, HasSubstr("--tmpfs /tmp is more"));
  options.tmpfs.clear();
  options.binds = {{"/usr", "/tmp", Access::read_write}};
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("--bind on '/tmp' is more"));
}

TEST(PolicySandbox, LimitsWhatNobodyLimitedAndNeverMoreThanThat) {
  RunOptions options;
  options.limits.pids = 64;
  const allowlists::Sandbox policy{
      .memory = std::uint64_t{2} << 30, .cpu_thousandths = 1500, .pids = 256};
  ASSERT_TRUE(tighten(options, policy, machine()));
  EXPECT_EQ(options.limits.memory, std::uint64_t{2} << 30);
  EXPECT_EQ(options.limits.cpus, 1500U);
  EXPECT_EQ(options.limits.pids, 64U);
  options.limits.pids = 257;
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("--pids is more than the policy gives the agent: 256"));
  options.limits = {.memory = std::uint64_t{3} << 30};
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("--memory is more than the policy gives the agent: 2 GiB"));
  options.limits = {.cpus = 2000};
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("--cpus is more than the policy gives the agent: 1.5"));
}

TEST(PolicySandbox, GivesNoMoreSwapAndNoLargerShareOfTheDiskThanItSays) {
  allowlists::Sandbox policy{.memory = std::uint64_t{2} << 30, .swap = 1U << 20, .io_weight = 50};
  RunOptions options;
  ASSERT_TRUE(tighten(options, policy, machine()));
  EXPECT_EQ(options.limits.swap, 1U << 20);
  EXPECT_EQ(options.limits.io_weight, 50U);
  options.limits.swap = 2U << 20;
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("--swap is more than the policy gives the agent: 1 MiB"));
  options.limits.swap = 0;
  options.limits.io_weight = 51;
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("--io-weight is more than the policy gives the agent: 50"));
  options.limits = {.swap = 1U << 20};
  policy.swap.reset();
  policy.io_weight.reset();
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("--swap is more than the policy gives the agent: none"));
  options.limits = {.swap = 0};
  EXPECT_THAT(tighten(options, {}, machine()).error().what,
              HasSubstr("--swap stands without --memory"));
}

TEST(PolicySandbox, SeedsNoMoreThanThePolicySays) {
  RunOptions options;
  const allowlists::Sandbox policy{.seeds = {{"~/tool", 65536}, {"/etc/tool", std::nullopt}}};
  ASSERT_TRUE(tighten(options, policy, machine()));
  ASSERT_EQ(options.seeds.size(), 2U);
  EXPECT_EQ(options.seeds[0].path, "/home/someone/tool");
  EXPECT_EQ(options.seeds[0].bytes, 65536U);
  EXPECT_EQ(options.seeds[1].bytes, default_tmpfs_bytes);
  options.seeds[0].bytes = 65537;
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("a seed of 64 KiB there"));
  options.seeds.clear();
  options.binds = {{"/usr", "/etc/tool", Access::read_write}};
  EXPECT_FALSE(tighten(options, policy, machine()));
}

TEST(PolicySandbox, IsNotLoosenedByWhatLiesBelowNorByAnotherHome) {
  RunOptions options;
  options.tmpfs = {{"/tmp/big", 65537}};
  const allowlists::Sandbox policy{.tmpfs = {{"/tmp", 65536}}, .masks = {"~/.netrc"}};
  EXPECT_THAT(tighten(options, policy, machine()).error().what,
              HasSubstr("/tmp/big below '/tmp' is more than the policy gives"));
  options.tmpfs = {{"/tmp/small", 4096}, {"/tmpfiles", 65537}};
  Machine other = machine();
  other.known_home = "/home/known";
  ASSERT_TRUE(tighten(options, policy, other));
  EXPECT_THAT(options.policy_masks,
              testing::ElementsAre("/home/someone/.netrc", "/home/known/.netrc"));
}

TEST(PolicySandbox, HidesWhateverABindIsCalled) {
  RunOptions options;
  options.binds = {{"/usr/../usr/bin", "/x", Access::read_only}};
  EXPECT_THAT(tighten(options, {.masks = {"/usr"}}, machine()).error().what,
              HasSubstr("shows what the policy hides: '/usr'"));
  EXPECT_TRUE(tighten(options, {.masks = {"/usr/bin/env"}}, machine()));
}

}  // namespace
}  // namespace sluice::launcher
