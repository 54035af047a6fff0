#include "launcher/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample.h"

namespace sluice::launcher {
namespace {

using ::testing::Contains;
using ::testing::Not;

std::vector<std::string> mount_paths(const Plan& plan) {
  std::vector<std::string> paths;
  for (const Mount& mount : plan.mounts) paths.push_back(mount.path);
  return paths;
}

Plan plan_of(const RunRequest& request, const Machine& machine = sample_machine()) {
  auto plan = make_plan(request, machine);
  EXPECT_TRUE(plan) << to_string(plan.error());
  return plan ? *plan : Plan{};
}

std::string text_of(const Plan& plan, const std::string& path) {
  for (const OwnFile& file : plan.files) {
    if (file.path == path) return file.text;
  }
  return "(none)";
}

TEST(ThePlan, MountsParentsBeforeChildren) {
  RunRequest request = sample_request();
  request.binds = {{"/srv/a", "/home/ana-other", Access::read_only},
                   {"/srv/b", "/home/ana/project/vendor", Access::read_only}};
  EXPECT_THAT(mount_paths(plan_of(request)),
              ::testing::ElementsAre("/dev/shm", "/home", "/home/ana", "/home/ana/project",
                                     "/home/ana/project/vendor", "/home/ana-other", "/root", "/run",
                                     "/tmp", "/var/tmp"));
}

TEST(ThePlan, TellsItsStepsInOrder) {
  EXPECT_EQ(describe(plan_of(sample_request())),
            "agent coder-1 as ana (1234:1234), workspace /home/ana/project\n"
            "  1. make namespaces: user, mount, pid, ipc, uts, net, cgroup\n"
            "  2. mount the host's root read-only, without setuid and devices\n"
            "  3. mount new /proc, /sys and /dev\n"
            "  4. mount an empty tmpfs of at most 268435456 bytes on /dev/shm\n"
            "  5. hide /home behind an empty read-only tmpfs\n"
            "  6. mount an empty tmpfs of at most 268435456 bytes on /home/ana\n"
            "  7. mount /home/ana/project on /home/ana/project, read-write\n"
            "  8. hide /root behind an empty read-only tmpfs\n"
            "  9. mount an empty tmpfs of at most 16777216 bytes on /run\n"
            " 10. mount an empty tmpfs of at most 268435456 bytes on /tmp\n"
            " 11. mount an empty tmpfs of at most 268435456 bytes on /var/tmp\n"
            " 12. replace /etc/hosts\n"
            " 13. replace /etc/hostname\n"
            " 14. replace /etc/resolv.conf\n"
            " 15. replace /etc/nsswitch.conf\n"
            " 16. replace /etc/passwd\n"
            " 17. replace /etc/group\n"
            " 18. hide /etc/sluice where it exists\n"
            " 19. hide /var/lib/sluice where it exists\n"
            " 20. hide /var/log/sluice where it exists\n"
            " 21. make the network whose only way out is the proxy\n"
            " 22. make /proc/sys read-only\n"
            " 23. register with the proxy\n"
            " 24. enter a nested user namespace without capabilities\n"
            " 25. set limits, no_new_privs, Landlock where the kernel has it, and the system call "
            "filter\n"
            " 26. try to leave: nothing may be reached\n"
            " 27. run true\n");
}

TEST(ThePlan, LetsAnAskedTmpfsReplaceADefaultOneAndKeepsItsMode) {
  RunRequest request = sample_request();
  request.tmpfs = {{"/tmp", 8192}, {"/cache", 4096}};
  const Plan plan = plan_of(request);
  for (const Mount& mount : plan.mounts) {
    if (mount.path == "/tmp") {
      EXPECT_EQ(mount.bytes, 8192U);
      EXPECT_EQ(mount.mode, 01777U);
    }
  }
  EXPECT_THAT(mount_paths(plan), Contains("/cache"));
}

TEST(ThePlan, GivesARootCallersAgentAnOrdinaryIdInside) {
  Machine machine = sample_machine();
  machine.uid = 0;
  machine.gid = 0;
  machine.user = "root";
  machine.home = "/root";
  const Plan plan = plan_of(sample_request(), machine);
  EXPECT_EQ(plan.inside_uid, 1000U);
  EXPECT_EQ(plan.inside_gid, 1000U);
  EXPECT_EQ(plan.user, "agent");
}

TEST(ThePlan, KnowsTheAgentByNameAndAsksOnlyItsOwnResolver) {
  const Plan plan = plan_of(sample_request());
  EXPECT_EQ(text_of(plan, "/etc/passwd"),
            "ana:x:1234:1234::/home/ana:/bin/sh\n"
            "root:x:0:0::/root:/bin/sh\n"
            "nobody:x:65534:65534::/nonexistent:/bin/sh\n");
  EXPECT_EQ(text_of(plan, "/etc/resolv.conf"), "nameserver 127.0.0.1\n");
  EXPECT_EQ(text_of(plan, "/etc/hosts"), "127.0.0.1 localhost coder-1\n::1 localhost coder-1\n");
  EXPECT_THAT(text_of(plan, "/etc/nsswitch.conf"), ::testing::HasSubstr("hosts: files dns\n"));
}

TEST(ThePlan, HidesSocketsThatNoNewMountHides) {
  Machine machine = sample_machine();
  machine.sockets = {"/run/docker.sock", "/var/lib/mysql/mysql.sock", "/tmp/.X11-unix/X0",
                     "/home/ana/project/app.sock", "/srv/db/s.sock"};
  RunRequest request = sample_request();
  request.binds = {{"/srv/db", "/mnt/db", Access::read_only},
                   {"/run", "/mnt/run", Access::read_only}};
  const auto masks = plan_of(request, machine).masks;
  EXPECT_THAT(
      masks, ::testing::IsSupersetOf({"/var/lib/mysql/mysql.sock", "/home/ana/project/app.sock",
                                      "/srv/db/s.sock", "/mnt/db/s.sock", "/mnt/run/docker.sock"}));
  EXPECT_THAT(masks, Not(Contains("/run/docker.sock")));
  EXPECT_THAT(masks, Not(Contains("/tmp/.X11-unix/X0")));
}

TEST(ThePlan, HidesSecretsWhereABindWouldShowThem) {
  RunRequest request = sample_request();
  EXPECT_THAT(plan_of(request).masks, Not(Contains("/home/ana/.ssh")));
  request.binds = {{"/home", "/mnt/homes", Access::read_only},
                   {"/home/ana", "/home/ana", Access::read_only}};
  EXPECT_THAT(plan_of(request).masks,
              ::testing::IsSupersetOf({"/home/ana/.ssh", "/mnt/homes/ana/.ssh", "/home/ana/.aws",
                                       "/mnt/homes/ana/.config/sluice"}));
}

TEST(ThePlan, HidesWhatWasAskedForWhereverABindShowsIt) {
  RunRequest request = sample_request();
  request.masks = {"/srv/data/key", "/mnt/data/other"};
  request.binds = {{"/srv/data", "/mnt/data", Access::read_only}};
  EXPECT_THAT(plan_of(request).masks,
              ::testing::IsSupersetOf({"/srv/data/key", "/mnt/data/key", "/mnt/data/other"}));
}

}  // namespace
}  // namespace sluice::launcher
