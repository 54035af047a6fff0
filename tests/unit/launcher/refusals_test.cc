#include "launcher/plan/refusals.h"

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
            "limits are written there; leave it out");
  request.binds = {{"/srv/a", "/x", Access::read_write}};
  EXPECT_TRUE(refuse_dangerous(request, machine));
}

TEST(Refusals, KeepAWritableBindAwayFromWhatEnclosesTheAgent) {
  const std::string narrower = "\nhint: name a directory that holds only the project";
  const std::string again = narrower + "; if the agent may have it all, say so: --i-know ";
  const std::pair<const char*, std::string> cases[] = {
      {"/", "error: the workspace '/' is the whole file system" + narrower},
      {"/home/ana",
       "error: the workspace '/home/ana' is or contains the home directory '/home/ana'" + again +
           "/home/ana"},
      {"/home", "error: the workspace '/home' is or contains the home directory '/home/ana'" +
                    again + "/home"},
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
            "hint: name a directory that holds only the project; if the agent may have it all, say "
            "so: --i-know /home/ana");
}

TEST(Refusals, EndWhereAPersonNamesTheDangerousPathAgain) {
  RunRequest request = sample_request();
  request.binds = {{"/home/ana", "/mnt/home", Access::read_write}};
  request.known = {"/home", "/home/ana/project"};
  EXPECT_NE(refusal(request), "");
  request.known = {"/home/ana"};
  EXPECT_EQ(refusal(request), "");
  request.guarded = {{"the policy", {"/home/ana/.config/sluice/policy.yaml"}, false}};
  EXPECT_EQ(
      refusal(request).substr(0, 87),
      "error: the policy '/home/ana/.config/sluice/policy.yaml' lies where the agent can write");
  request.guarded = {};
  for (const char* path : {"/", "/opt/sluice/bin", "/opt/sluice", "/etc", "/usr/lib", "/var"}) {
    request.binds = {{path, "/mnt/x", Access::read_write}};
    request.known = {path};
    EXPECT_NE(refusal(request), "") << path;
  }
}

TEST(Refusals, SuggestNothingThatWouldBeRefusedNext) {
  RunRequest request = sample_request();
  request.guarded = {{"the policy", {"/home/ana/.config/sluice/policy.yaml"}, false}};
  for (const char* path : {"/home/ana", "/home/ana/.config"}) {
    request.binds = {{path, "/mnt/x", Access::read_write}};
    EXPECT_EQ(refusal(request).find("--i-know"), std::string::npos) << refusal(request);
    EXPECT_NE(refusal(request), "");
  }
}

TEST(Refusals, KeepHiddenPathsOutOfWritableBinds) {
  Machine machine = sample_machine();
  machine.linked_secrets = {"/data/keys/aws"};
  machine.mounts = parse_mountinfo(
      "1 0 8:1 / / rw - ext4 x rw\n"
      "2 1 8:1 /disk/home /home rw - ext4 x rw\n");
  const std::pair<const char*, std::string> cases[] = {
      {"/home/ana/.config",
       "error: the writable bind '/home/ana/.config' holds '/home/ana/.config/git/credentials', "
       "which is "
       "hidden from agents\nhint: a copy is safe: --seed /home/ana/.config; if the agent may have "
       "it all, say so: --i-know /home/ana/.config"},
      {"/data", "error: the writable bind '/data' holds '/data/keys/aws'"},
      {"/disk/home/ana", "error: the writable bind '/disk/home/ana' holds '/disk/home/ana/.ssh'"},
      {"/var/lib", "error: the writable bind '/var/lib' holds '/var/lib/sluice'"},
      {"/home/ana/.config/gh", ""},
      {"/home/ana/.ssh/keys", ""},
      {"/home/ana/.configuration", ""},
  };
  for (const auto& [source, text] : cases) {
    RunRequest request = sample_request();
    request.binds = {{source, "/mnt/x", Access::read_write}};
    const auto fine = refuse_dangerous(request, machine);
    const std::string said = fine ? "" : to_string(fine.error());
    EXPECT_EQ(said.substr(0, text.size()), text) << said;
    EXPECT_EQ(said.empty(), text.empty()) << said;
    request.binds[0].access = Access::read_only;
    EXPECT_TRUE(refuse_dangerous(request, machine)) << source;
    request.binds[0].access = Access::read_write;
    request.known = {source};
    EXPECT_TRUE(refuse_dangerous(request, machine)) << source;
  }
}

TEST(Refusals, KeepLinksFromLeadingToWhatIsHidden) {
  const std::string text =
      " '/data/cache' leads to '/home/ana/.ssh', which is hidden from agents\n"
      "hint: who made that link? name the path itself if the agent may have it";
  RunRequest request = sample_request();
  request.binds = {{"/home/ana/.ssh", "/mnt/x", Access::read_only, {}, "/data/cache"}};
  EXPECT_EQ(refusal(request), "error: the bind" + text);
  request.binds[0].named = "/home/ana/.ssh";
  EXPECT_EQ(refusal(request), "");
  request.binds = {};
  request.seeds = {{"/home/ana/.ssh", "/data/cache", 4096}};
  EXPECT_EQ(refusal(request), "error: the seed" + text);
  request.seeds = {{"/data/real", "/data/cache", 4096}};
  EXPECT_EQ(refusal(request), "");
}

TEST(Refusals, KeepSocketsAndDevicesOutOfWritableBinds) {
  const Remarkable socket{"x.sock", "", {}};
  const Remarkable device{"", "sda", {}};
  RunRequest request = sample_request();
  request.binds = {{"/srv/x", "/mnt/x", Access::read_write, socket}};
  EXPECT_EQ(refusal(request),
            "error: the writable bind '/srv/x' holds the socket 'x.sock'\nhint: name a directory "
            "without it; if the agent may have it all, say so: --i-know /srv/x");
  request.known = {"/srv/x"};
  EXPECT_EQ(refusal(request), "");
  request.known = {};
  request.binds[0].found = device;
  EXPECT_NE(refusal(request), "");
  request.binds = {};
  request.found_in_workspace = socket;
  EXPECT_EQ(refusal(request), "");
  request.found_in_workspace = device;
  EXPECT_NE(refusal(request), "");
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
