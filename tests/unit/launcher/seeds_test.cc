#include "launcher/plan/seeds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/left_out.h"
#include "launcher/sandbox/tmpfs_need.h"
#include "sample.h"

namespace sluice::launcher {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

RunRequest with_seed(const std::string& source, const std::string& path) {
  RunRequest request = sample_request();
  request.seeds = {{source, path, 8192}};
  return request;
}

Mount seed_of(const RunRequest& request, const Machine& machine = sample_machine()) {
  const auto plan = make_plan(request, machine);
  EXPECT_TRUE(plan) << to_string(plan.error());
  if (!plan) return {};
  for (const Mount& mount : plan->mounts) {
    if (mount.kind == Mount::Kind::seed) return mount;
  }
  ADD_FAILURE() << "no seed in the plan";
  return {};
}

std::string refusal(const RunRequest& request) {
  const auto plan = make_plan(request, sample_machine());
  return plan ? "" : to_string(plan.error());
}

TEST(Seeds, LeaveOutWhatIsHiddenFromAgents) {
  Machine machine = sample_machine();
  machine.linked_secrets = {"/data/cargo/credentials"};
  machine.known_home = "/home/other";
  EXPECT_THAT(seed_of(with_seed("/home/ana", "/home/ana")).without,
              IsSupersetOf({".ssh", ".config/gh", ".cargo/credentials"}));
  EXPECT_THAT(seed_of(with_seed("/home/ana/.cargo", "/home/ana/.cargo")).without,
              ElementsAre("credentials", "credentials.toml"));
  EXPECT_THAT(seed_of(with_seed("/data/cargo", "/home/ana/.cargo"), machine).without,
              ElementsAre("credentials"));
  EXPECT_THAT(seed_of(with_seed("/home/other", "/x"), machine).without, Contains(".ssh"));
  EXPECT_THAT(seed_of(with_seed("/etc", "/etc")).without, ElementsAre("sluice"));
  EXPECT_THAT(seed_of(with_seed("/run/user/1234", "/x")).without, ElementsAre("sluice/agents"));
  EXPECT_THAT(seed_of(with_seed("/home/ana/.config-of-another", "/x")).without, ElementsAre());
}

TEST(Seeds, LeaveOutWhatIsHiddenUnderTheNamesOfOtherMounts) {
  Machine machine = sample_machine();
  machine.mounts = parse_mountinfo(
      "1 0 8:1 / / rw - ext4 x rw\n"
      "2 1 8:1 /mnt/home /home rw - ext4 x rw\n");
  EXPECT_THAT(seed_of(with_seed("/mnt/home/ana", "/x"), machine).without, Contains(".ssh"));
}

TEST(Seeds, LeaveOutMasksByTheirNameInsideAndOutside) {
  RunRequest request = with_seed("/srv/data", "/opt/data");
  request.masks = {"/srv/data/key", "/opt/data/other"};
  EXPECT_THAT(seed_of(request).without, ElementsAre("key", "other"));
}

TEST(Seeds, LeaveEmptyWhatAnotherMountCovers) {
  RunRequest request = with_seed("/srv/data", "/srv/data");
  request.tmpfs = {{"/srv/data/cache", 4096}};
  request.binds = {{"/opt/x", "/srv/data/x", Access::read_only}};
  EXPECT_THAT(seed_of(request).mounted, ElementsAre("cache", "x"));
  EXPECT_THAT(seed_of(with_seed("/home/ana", "/home/ana")).mounted, ElementsAre("project"));
}

TEST(Seeds, AreWritableForLandlock) {
  const auto plan = make_plan(with_seed("/srv/data", "/srv/data"), sample_machine());
  ASSERT_TRUE(plan);
  const auto places = writable_places(plan->mounts);
  EXPECT_TRUE(std::any_of(places.begin(), places.end(),
                          [](const WritablePlace& place) { return place.path == "/srv/data"; }));
}

TEST(Seeds, AreDescribedWithWhatTheyLeaveOut) {
  const auto plan = make_plan(with_seed("/home/ana/.cargo", "/home/ana/.cargo"), sample_machine());
  ASSERT_TRUE(plan);
  EXPECT_THAT(describe(*plan),
              HasSubstr("copy /home/ana/.cargo into a writable tmpfs of at most 8192 bytes on "
                        "/home/ana/.cargo, without /home/ana/.cargo/credentials, "
                        "/home/ana/.cargo/credentials.toml\n"));
}

TEST(Seeds, AreRefusedWhereAnotherMountDecides) {
  const std::pair<const char*, const char*> cases[] = {
      {"/home/ana/project",
       "error: two mounts are asked for at '/home/ana/project'\n"
       "hint: leave one of them out; the workspace is mounted without asking"},
      {"/home/ana/project/x",
       "error: the seed '/home/ana/project/x' lies in the workspace '/home/ana/project', which is "
       "the machine's own directory\nhint: the workspace is writable as it is; leave the seed out"},
      {"/srv/bound/x",
       "error: the seed '/srv/bound/x' lies in the bind '/srv/bound', which is the machine's own "
       "directory\nhint: leave one of them out"},
      {"/srv/masked/x",
       "error: the mask '/srv/masked' hides the seed '/srv/masked/x'\nhint: leave one of them out"},
      {"/var/lib/sluice",
       "error: the seed '/var/lib/sluice' would show what sluice keeps\nhint: leave it out"},
      {"/proc/sys",
       "error: the seed '/proc/sys' would show the machine's own /proc\n"
       "hint: the sandbox has its own; leave it out"},
      {"/",
       "error: the seed '/' would replace a part of the sandbox\n"
       "hint: choose a path outside of /proc, /sys, /dev and /run/sluice"},
  };
  for (const auto& [path, text] : cases) {
    RunRequest request = with_seed(path, path);
    request.binds = {{"/srv/bound", "/srv/bound", Access::read_only}};
    request.masks = {"/srv/masked"};
    EXPECT_EQ(refusal(request), text);
  }
  EXPECT_EQ(refusal(with_seed("/home/ana", "/home/ana")), "");
}

TEST(LeftOut, NamesFiveAndCountsTheRest) {
  LeftOut left_out("/srv/a\n");
  EXPECT_EQ(left_out.sentence(), "");
  left_out.add("x/y", "a FIFO");
  EXPECT_EQ(left_out.sentence(), "the seed '/srv/a\\x0a' leaves out 1 entry: 'x/y' (a FIFO)");
  for (int i = 0; i < 6; ++i) left_out.add(std::string(1000, 'z'), "a socket");
  EXPECT_THAT(left_out.sentence(), HasSubstr(std::string(200, 'z') + "...' (a socket) and 2 more"));
  EXPECT_LT(left_out.sentence().size(), 1200U);
}

TEST(TmpfsNeed, CountsWholePagesAndOneInodeForEachFourKiB) {
  TmpfsNeed need;
  EXPECT_EQ(need.bytes(), 4096U);  // the root directory
  for (int i = 0; i < 9; ++i) need.add_entry();
  EXPECT_EQ(need.bytes(), 10U * 4096);
  need.add_data(0, 1);
  need.add_data(4000, 9000);
  EXPECT_EQ(need.bytes(), 10U * 4096);
  need.add_data(0, std::uint64_t{8} << 20);
  EXPECT_EQ(need.bytes(), (std::uint64_t{8} << 20) + 4 * 4096);
  EXPECT_EQ(need.mebibytes_with_room(), 11U);
}

}  // namespace
}  // namespace sluice::launcher
