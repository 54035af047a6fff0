#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "launcher/cgroup/directory.h"
#include "launcher/cgroup/hierarchy.h"
#include "launcher/cgroup/means.h"
#include "launcher/cgroup/place.h"
#include "launcher/cgroup/reached.h"
#include "launcher/cgroup/scope.h"
#include "launcher/cgroup/settings.h"

namespace sluice::launcher::cgroup {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr pid_t caller = 4711;

// A directory tree that looks like a control group's file system, gone with the test.
class FakeTree : public ::testing::Test {
 protected:
  FakeTree() {
    std::string name = (std::filesystem::temp_directory_path() / "cgroup-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
  }
  ~FakeTree() override { std::filesystem::remove_all(root_); }

  void put(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(at(path)).parent_path());
    std::ofstream(at(path)) << text;
  }
  std::string at(const std::string& path) const { return root_ + path; }

  // A delegated v2 group that holds `procs`.
  void put_v2(const std::string& group, const std::string& procs,
              const std::string& controllers = "cpuset cpu io memory pids") const {
    put(group + "/cgroup.type", "domain\n");
    put(group + "/cgroup.controllers", controllers + "\n");
    put(group + "/cgroup.subtree_control", "");
    put(group + "/cgroup.procs", procs);
  }
  HostMount v2_mount() const { return {"0:1", "/", root_, "cgroup2", "rw"}; }
  HostMount v1_mount(const std::string& name) const {
    return {"0:2", "/", at("/" + name), "cgroup", "rw," + name};
  }

 private:
  std::string root_;
};

std::vector<Controller> controllers_of(const Place& place) {
  std::vector<Controller> all;
  for (const Ground& ground : place.grounds)
    all.insert(all.end(), ground.controllers.begin(), ground.controllers.end());
  return all;
}

TEST(Hierarchies, AreReadFromMountsAndTheProcesssOwnGroups) {
  const std::vector<HostMount> hybrid = parse_mountinfo(
      "31 23 0:28 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 /box /sys/fs/cgroup/memory rw shared:4 master:5 - cgroup cgroup rw,memory\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  const auto found = read_hierarchies(hybrid,
                                      "9:name=systemd:/\n4:memory:/box/a:b c\n2:cpu,cpuacct:/u\n"
                                      "3:freezer:/f\n0::/user.slice\n");
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[1].version, Version::v1);
  EXPECT_EQ(found[1].own, "/sys/fs/cgroup/memory/a:b c");
  EXPECT_EQ(found[2].own, "/sys/fs/cgroup/cpu,cpuacct/u");
  EXPECT_THAT(found[2].controllers, ElementsAre("cpu", "cpuacct"));
  EXPECT_EQ(found[3].version, Version::v2);
  EXPECT_EQ(found[3].own, "/sys/fs/cgroup/unified/user.slice");
}

TEST(Hierarchies, OutOfSightHaveNoOwnGroup) {
  const std::vector<HostMount> mounts = {{"0:1", "/box", "/sys/fs/cgroup", "cgroup2", "rw"}};
  EXPECT_EQ(read_hierarchies(mounts, "0::/box\n").at(0).own, "/sys/fs/cgroup");
  for (const char* group : {"0::/../outside\n", "0::/boxes\n", "0::/\n"}) {
    EXPECT_EQ(read_hierarchies(mounts, group).at(0).own, "") << group;
  }
  EXPECT_TRUE(read_hierarchies({}, "0::/\n").empty());
}

TEST_F(FakeTree, OfADelegatedGroupWithNobodyElseInItIsAGroundThatSluiceLeaves) {
  put_v2("/user/run", "4711\n");
  const Place place = find_place(read_hierarchies({v2_mount()}, "0::/user/run\n"), caller);
  ASSERT_EQ(place.grounds.size(), 1U);
  EXPECT_EQ(place.grounds[0].directory, at("/user/run"));
  EXPECT_EQ(place.grounds[0].must_leave, MustLeave::yes);
  EXPECT_THAT(place.grounds[0].controllers,
              ElementsAre(Controller::memory, Controller::pids, Controller::cpu, Controller::io));
  EXPECT_TRUE(place.lacking.empty());
}

TEST_F(FakeTree, OfAGroupWithOtherProcessesIsNone) {
  put_v2("/user", "4710\n4711\n");
  const Place place = find_place(read_hierarchies({v2_mount()}, "0::/user\n"), caller);
  EXPECT_TRUE(place.grounds.empty());
  EXPECT_EQ(place.lacking.at(Controller::memory),
            "'" + at("/user") + "' holds other processes than sluice");
}

TEST_F(FakeTree, OfTheRootHoldsProcessesAndGroupsAtOnce) {
  put("/cgroup.controllers", "memory pids\n");
  put("/cgroup.subtree_control", "");
  put("/cgroup.procs", "1\n2\n4711\n");
  const Place place = find_place(read_hierarchies({v2_mount()}, "0::/\n"), caller);
  ASSERT_EQ(place.grounds.size(), 1U);
  EXPECT_EQ(place.grounds[0].must_leave, MustLeave::no);
  EXPECT_THAT(place.lacking,
              ElementsAre(Pair(Controller::cpu, "no control group has the controller cpu"),
                          Pair(Controller::io, "no control group has the controller io")));
}

// What is absent may not be written either, whoever runs the test.
TEST_F(FakeTree, ThatMayNotBeWrittenIsNoGround) {
  put_v2("/user", "4711\n");
  const auto hierarchies = read_hierarchies({v2_mount()}, "0::/user\n");
  std::filesystem::remove(at("/user/cgroup.subtree_control"));
  EXPECT_EQ(find_place(hierarchies, caller).lacking.at(Controller::pids),
            "'" + at("/user") + "' is not delegated to this user");
  std::filesystem::remove(at("/user/cgroup.procs"));
  EXPECT_EQ(find_place(hierarchies, caller).lacking.at(Controller::pids),
            "'" + at("/user") + "' may not be written by this user");
}

TEST_F(FakeTree, OfVersion1IsAGroundForEachControllerItHolds) {
  put("/memory/mine/cgroup.procs", "1\n4711\n");
  put("/pids/cgroup.procs", "1\n4711\n");
  const Place place =
      find_place(read_hierarchies({v1_mount("memory"), v1_mount("pids"), v1_mount("cpuacct")},
                                  "4:memory:/mine\n8:pids:/\n2:cpuacct:/\n"),
                 caller);
  ASSERT_NE(place.of(Controller::memory), nullptr);
  EXPECT_EQ(place.of(Controller::memory)->directory, at("/memory/mine"));
  EXPECT_EQ(place.of(Controller::pids)->directory, at("/pids"));
  EXPECT_EQ(place.of(Controller::pids)->must_leave, MustLeave::no);
  EXPECT_EQ(place.of(Controller::cpu), nullptr);
}

TEST_F(FakeTree, OfBothVersionsIsAGroundForWhatEitherHolds) {
  put("/memory/cgroup.procs", "1\n4711\n");
  put_v2("/unified", "4711\n", "hugetlb pids");
  HostMount v2 = v2_mount();
  v2.point = at("/unified");
  const Place place =
      find_place(read_hierarchies({v1_mount("memory"), v2}, "4:memory:/\n0::/\n"), caller);
  EXPECT_THAT(controllers_of(place), UnorderedElementsAre(Controller::memory, Controller::pids));
  EXPECT_EQ(place.of(Controller::pids)->version, Version::v2);
  EXPECT_EQ(place.lacking.count(Controller::cpu), 1U);
}

TEST_F(FakeTree, IsNotLeftForAScopeWhereALimitOfMemoryOrCpusHoldsInIt) {
  put_v2("/slice", "");
  put_v2("/slice/session", "1\n4711\n");
  put("/memory.max", "1000\n");  // of no group: the root has none
  for (const char* group : {"/slice", "/slice/session"}) {
    put(std::string(group) + "/memory.max", "max\n");
    put(std::string(group) + "/cpu.max", "max 100000\n");
    put(std::string(group) + "/pids.max", "100\n");
  }
  EXPECT_EQ(outer_limit(at("/slice/session")), "");
  put("/slice/memory.high", "5000000\n");
  EXPECT_EQ(outer_limit(at("/slice/session")), at("/slice/memory.high"));
  put("/slice/session/cpu.max", "50000 100000\n");
  EXPECT_EQ(outer_limit(at("/slice/session")), at("/slice/session/cpu.max"));
}

TEST_F(FakeTree, OfVersion1SharesOutTheDiskByTheNameBlkio) {
  put("/blkio/cgroup.procs", "1\n4711\n");
  const Place place = find_place(read_hierarchies({v1_mount("blkio")}, "4:blkio:/\n"), caller);
  ASSERT_NE(place.of(Controller::io), nullptr);
  EXPECT_EQ(place.of(Controller::io)->directory, at("/blkio"));
}

TEST(ASetting, OfTheDisksShareIsTheSameForEitherScheduler) {
  for (const auto& [weight, bfq] :
       {std::pair{1U, "1"}, {100U, "100"}, {1000U, "181"}, {10000U, "1000"}}) {
    const auto settings = settings_for(Version::v2, Controller::io, {.io_weight = weight});
    ASSERT_EQ(settings.size(), 2U);
    EXPECT_STREQ(settings[0].file, "io.weight");
    EXPECT_EQ(settings[0].value, std::to_string(weight));
    EXPECT_STREQ(settings[1].file, "io.bfq.weight");
    EXPECT_EQ(settings[1].value, bfq);
  }
  EXPECT_STREQ(settings_for(Version::v1, Controller::io, {.io_weight = 1})[1].file,
               "blkio.bfq.weight");
}

TEST(ASetting, OfSwapIsBesideMemoryInVersion2AndTogetherWithItInVersion1) {
  Limits limits{.memory = 64U << 20};
  EXPECT_EQ(settings_for(Version::v2, Controller::memory, limits)[1].value, "0");
  EXPECT_EQ(settings_for(Version::v2, Controller::memory, limits)[1].unkept, "");
  EXPECT_EQ(settings_for(Version::v1, Controller::memory, limits)[1].value, "67108864");
  limits.swap = 1U << 20;
  EXPECT_EQ(settings_for(Version::v2, Controller::memory, limits)[1].value, "1048576");
  EXPECT_EQ(settings_for(Version::v1, Controller::memory, limits)[1].value, "68157440");
  EXPECT_EQ(settings_for(Version::v1, Controller::memory, limits)[1].unkept,
            "--swap 1 MiB is not kept: this kernel does not count swap");
}

TEST(AWeight, IsAGroupOfItsOwnOrIsSaidNotToBeKept) {
  Place place;
  place.grounds = {{Version::v2, "/x", {Controller::io}}};
  place.lacking = {{Controller::memory, "why"}, {Controller::pids, "why"}};
  Means means = choose_means({.io_weight = 50}, place);
  EXPECT_EQ(means.group.io_weight, 50U);
  EXPECT_EQ(means.steps.front(), "make a control group with an I/O weight of 50");
  place.grounds[0].controllers = {Controller::memory, Controller::pids};
  place.lacking = {{Controller::io, "why"}};
  means = choose_means({.memory = 64U << 20, .swap = 1U << 20, .io_weight = 50}, place);
  EXPECT_FALSE(means.group.io_weight);
  EXPECT_EQ(means.notice,
            "--io-weight 50 is not kept; no control group: why ('sluice doctor' says what mends "
            "it)");
  EXPECT_EQ(means.steps.front(),
            "make a control group of at most 64 MiB of memory, 1 MiB of swap, 4096 processes");
}

TEST(AScope, IsNotAskedForWhereVersion1Is) {
  EXPECT_NE(why_no_scope({}), "");
  EXPECT_NE(why_no_scope({{Version::v1, {"memory"}, "/m"}, {Version::v2, {}, "/u"}}), "");
}

TEST(NoHierarchy, LeavesEverythingToRlimits) {
  const Place place = find_place({}, caller);
  EXPECT_EQ(place.lacking.at(Controller::cpu), "no control groups are mounted");
  const Means means = choose_means({.memory = 1U << 30, .cpus = 1500, .pids = 64}, place);
  EXPECT_FALSE(means.group.memory || means.group.pids || means.group.cpus);
  EXPECT_EQ(means.process.data, 1U << 30);
  EXPECT_EQ(means.process.processes, 64U);
  EXPECT_EQ(means.notice,
            "--memory 1 GiB holds for each process alone, not for the agent, --pids 64 is an "
            "rlimit, --cpus 1.5 is not kept; no control group: no control groups are mounted "
            "('sluice doctor' says what mends it)");
  EXPECT_THAT(means.steps, ElementsAre("limit the data of each process to 1 GiB",
                                       "limit the agent to 64 processes by an rlimit"));
}

TEST(NothingAsked, LimitsProcessesAndSaysNothingOfIt) {
  const Means without = choose_means({}, find_place({}, caller));
  EXPECT_EQ(without.process.processes, default_pids);
  EXPECT_EQ(without.notice, "");
  Place place;
  place.grounds = {{Version::v2, "/x", {Controller::memory, Controller::pids, Controller::cpu}}};
  const Means means = choose_means({}, place);
  EXPECT_EQ(means.group.pids, default_pids);
  EXPECT_FALSE(means.group.memory || means.group.cpus || means.process.processes);
  EXPECT_THAT(means.steps, ElementsAre("make a control group of at most 4096 processes"));
  EXPECT_THAT(choose_means({.memory = 3U << 20, .cpus = 250, .pids = {}}, place).steps,
              ElementsAre("make a control group of at most 3 MiB of memory, 0.25 CPUs, 4096 "
                          "processes"));
}

TEST(WhatWasReached, IsToldAsTheEndOnlyWhereItWas) {
  const Limits limits{.memory = std::uint64_t{2} << 30, .cpus = {}, .pids = 64};
  EXPECT_EQ(in_words({}, limits, 137), "");
  EXPECT_EQ(in_words({1, true, 0}, limits, 137),
            "; the agent was ended: memory limit 2 GiB reached");
  EXPECT_EQ(
      in_words({3, true, 12}, limits, 0),
      "; 3 of its processes were ended: memory limit 2 GiB reached; its limit of 64 processes "
      "was reached 12 times");
  EXPECT_EQ(in_words({1, false, 1}, limits, 1),
            "; 1 of its processes was ended: no memory was left outside of its own limit; its "
            "limit of 64 processes was reached once");
}

TEST(Counters, AreReadByTheirWholeName) {
  EXPECT_EQ(number_of("low 0\noom 3\noom_kill 2\noom_group_kill 1\n", "oom_kill"), 2U);
  EXPECT_EQ(number_of("low 0\noom 3\n", "oom"), 3U);
  EXPECT_EQ(number_of("oom_kill 2", "oom"), 0U);
  EXPECT_EQ(number_of("", "max"), 0U);
}

TEST_F(FakeTree, KeepsAGroupWhoseMakerLivesAndLosesOneWhoseMakerIsGone) {
  auto held = Directory::make(at(""));
  ASSERT_TRUE(held) << to_string(held.error());
  std::filesystem::create_directory(at("/sluice-1-00000000"));
  std::filesystem::create_directory(at("/other"));
  remove_abandoned(at(""));
  EXPECT_TRUE(std::filesystem::exists(held->path()));
  EXPECT_FALSE(std::filesystem::exists(at("/sluice-1-00000000")));
  EXPECT_TRUE(std::filesystem::exists(at("/other")));
  EXPECT_EQ(to_string(held->write("pids.max", "5").error()),
            "error: cannot write '5' to '" + held->path() +
                "/pids.max': No such file or directory\nhint: 'sluice doctor' says what is "
                "possible here");
}

}  // namespace
}  // namespace sluice::launcher::cgroup
