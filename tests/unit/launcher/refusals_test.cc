#include "launcher/refusals.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace sluice::launcher {
namespace {

std::string refusal(const RunRequest& request) {
  const auto fine = refuse_dangerous(request, sample_machine());
  return fine ? "" : to_string(fine.error());
}

TEST(Refusals, LetAnOrdinaryProjectPass) { EXPECT_EQ(refusal(sample_request()), ""); }

TEST(Refusals, KeepControlGroupsOutWhereverTheyAreMounted) {
  Machine machine = sample_machine();
  machine.mounts = {{"0:30", "/", "/cg", "cgroup2", "rw"}, {"0:31", "/", "/srv/a", "ext4", "rw"}};
  RunRequest request = sample_request();
  request.binds = {{"/cg/user", "/x", Access::read_only}};
  EXPECT_EQ(to_string(refuse_dangerous(request, machine).error()),
            "error: the bind '/cg/user' would show the machine's control groups\nhint: an agent's "
            "limits are written there; leave the bind out");
  request.binds = {{"/srv/a", "/x", Access::read_write}};
  EXPECT_TRUE(refuse_dangerous(request, machine));
}

TEST(Refusals, KeepAWritableBindAwayFromWhatEnclosesTheAgent) {
  const std::string narrower = "\nhint: name a directory that holds only the project";
  const std::pair<const char*, std::string> cases[] = {
      {"/", "error: the workspace '/' is the whole file system" + narrower},
      {"/home/ana",
       "error: the workspace '/home/ana' is or contains the home directory '/home/ana'" + narrower},
      {"/home",
       "error: the workspace '/home' is or contains the home directory '/home/ana'" + narrower},
      {"/opt/sluice",
       "error: the workspace '/opt/sluice' contains the running sluice programs in "
       "'/opt/sluice/bin'"
       "\nhint: install sluice elsewhere, or name a directory beside it"},
  };
  for (const auto& [workspace, text] : cases) {
    RunRequest request = sample_request();
    request.workspace = workspace;
    EXPECT_EQ(refusal(request), text);
  }
}

TEST(Refusals, HoldForWritableBindsAndNotForReadOnlyOnes) {
  RunRequest request = sample_request();
  request.binds = {{"/home/ana", "/mnt/home", Access::read_only}};
  EXPECT_EQ(refusal(request), "");
  request.binds = {{"/home/ana", "/mnt/home", Access::read_write}};
  EXPECT_EQ(refusal(request),
            "error: the writable bind '/home/ana' is or contains the home directory '/home/ana'\n"
            "hint: name a directory that holds only the project");
}

TEST(Refusals, KeepThePolicyAndTheAuditFileOutOfReach) {
  const std::string hint = "\nhint: keep it outside of the workspace and of every writable bind";
  RunRequest request = sample_request();
  request.guarded = {{"the policy", {"/etc/p.yaml", "/home/ana/project/p.yaml"}, false}};
  EXPECT_EQ(
      refusal(request),
      "error: the policy '/home/ana/project/p.yaml' lies where the agent can write: the workspace "
      "'/home/ana/project'" +
          hint);
  request.guarded = {{"the audit file", {"/var/log/agents/a"}, false}};
  EXPECT_EQ(refusal(request), "");
  request.binds = {{"/var/log", "/mnt/log", Access::read_write}};
  EXPECT_EQ(
      refusal(request),
      "error: the audit file '/var/log/agents/a' lies where the agent can write: the writable "
      "bind '/var/log'" +
          hint);
}

TEST(Refusals, KeepAgentsOutOfAPolicyDirectory) {
  RunRequest request = sample_request();
  request.guarded = {{"the policy", {"/srv/policies"}, true}};
  EXPECT_EQ(refusal(request), "");
  request.binds = {{"/srv/policies/team", "/mnt/team", Access::read_write}};
  EXPECT_EQ(refusal(request),
            "error: the policy '/srv/policies' lies where the agent can write: the writable bind "
            "'/srv/policies/team'\n"
            "hint: keep it outside of the workspace and of every writable bind");
}

TEST(Refusals, KeepMountsOffThePartsOfTheSandbox) {
  for (const char* path : {"/", "/proc", "/proc/sys", "/sys/fs", "/dev/x", "/run/sluice/etc"}) {
    RunRequest request = sample_request();
    request.binds = {{"/srv/data", path, Access::read_only}};
    EXPECT_EQ(refusal(request),
              "error: the bind '" + std::string(path) +
                  "' would replace a part of the sandbox\nhint: choose a path outside "
                  "of /proc, /sys, /dev and /run/sluice");
    request.binds = {};
    request.tmpfs = {{path, 4096}};
    EXPECT_NE(refusal(request), "") << path;
  }
  RunRequest request = sample_request();
  request.tmpfs = {{"/dev/shm", 4096}};
  request.binds = {{"/dev/shm/build", "/dev/shm/build", Access::read_write}};
  EXPECT_EQ(refusal(request), "");
  request.binds = {{"/dev/shm", "/dev/shm", Access::read_only}};
  EXPECT_NE(refusal(request), "");
}

TEST(Refusals, DoNotLetAMaskHideTheWorkspace) {
  RunRequest request = sample_request();
  request.masks = {"/home/ana"};
  EXPECT_EQ(refusal(request),
            "error: the mask '/home/ana' hides the workspace\n"
            "hint: mask what lies inside of it or beside it");
  request.masks = {"/home/ana/project/secret"};
  EXPECT_EQ(refusal(request), "");
}

TEST(Refusals, WantOneMountForEachPlace) {
  RunRequest request = sample_request();
  request.tmpfs = {{"/home/ana/project", 4096}};
  EXPECT_EQ(refusal(request),
            "error: two mounts are asked for at '/home/ana/project'\n"
            "hint: leave one of them out; the workspace is mounted without asking");
}

}  // namespace
}  // namespace sluice::launcher
