#include "launcher/plan/plan.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launcher/plan/plan_json.h"
#include "launcher/sandbox/steps.h"
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

TEST(ThePlan, TellsEveryStepInOrderAndWhatTheRootIsMadeOf) {
  const std::string text = describe(plan_of(sample_request()));
  std::string expected = "agent coder-1 as ana (1234:1234), workspace /home/ana/project\n";
  std::size_t number = 0;
  for (const StepInfo& step : all_steps) {
    expected += fmt::format("{:>3}. {}: {}\n", ++number, step.name, step.does);
    if (step.step == Step::exec_log) {
      expected += "     - every program that the agent starts is an audit line\n";
    }
    if (step.step != Step::root) continue;
    expected +=
        "     - mount an empty tmpfs of at most 268435456 bytes on /dev/shm\n"
        "     - hide /home behind an empty read-only tmpfs\n"
        "     - mount an empty tmpfs of at most 268435456 bytes on /home/ana\n"
        "     - mount /home/ana/project on /home/ana/project, read-write\n"
        "     - hide /root behind an empty read-only tmpfs\n"
        "     - mount an empty tmpfs of at most 16777216 bytes on /run\n"
        "     - mount an empty tmpfs of at most 268435456 bytes on /tmp\n"
        "     - mount an empty tmpfs of at most 268435456 bytes on /var/tmp\n"
        "     - replace /etc/hosts\n"
        "     - replace /etc/hostname\n"
        "     - replace /etc/resolv.conf\n"
        "     - replace /etc/nsswitch.conf\n"
        "     - replace /etc/passwd\n"
        "     - replace /etc/group\n"
        "     - hide /etc/sluice where it exists\n"
        "     - hide /var/lib/sluice where it exists\n"
        "     - hide /var/log/sluice where it exists\n";
  }
  EXPECT_EQ(text, expected + fmt::format("{:>3}. run true\n", ++number));
}

TEST(ThePlan, IsOneJsonObjectWithoutTheValuesOfVariables) {
  RunRequest request = sample_request();
  request.environment = {{"TOKEN", "secret"}};
  request.binds = {{"/srv/a\xff", "/srv/a", Access::read_only}};
  const std::string text = to_json(plan_of(request), {{}, "/p.yaml", {"a.example"}, true});
  EXPECT_EQ(text.find("secret"), std::string::npos);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["agent"], "coder-1");
  EXPECT_EQ(json["uid"], 1234);
  EXPECT_EQ(json["command"], nlohmann::json::array({"true"}));
  EXPECT_EQ(json["policy"]["allow"][0], "a.example");
  EXPECT_THAT(json["environment"], Contains("TOKEN"));
  EXPECT_EQ(json["steps"].size(), all_steps.size());
  EXPECT_EQ(json["steps"][0]["name"], "control groups");
  const nlohmann::json bind = {{"kind", "bind"},
                               {"path", "/srv/a"},
                               {"source", "/srv/a\uFFFD"},
                               {"access", "read-only"},
                               {"required", true}};
  EXPECT_THAT(json["mounts"], Contains(bind));
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
                                       "/home/ana/.local/state/sluice",
                                       "/mnt/homes/ana/.local/state/sluice",
                                       "/mnt/homes/ana/.config/sluice"}));
}

TEST(ThePlan, HidesControlGroupsThatAreMountedOutsideOfSys) {
  Machine machine = sample_machine();
  machine.mounts = {{"0:29", "/", "/", "ext4", "rw"},
                    {"0:30", "/", "/srv/cg", "cgroup2", "rw"},
                    {"0:31", "/", "/sys/fs/cgroup/pids", "cgroup", "rw,pids"}};
  RunRequest request = sample_request();
  request.binds = {{"/srv", "/mnt/srv", Access::read_only}};
  const auto masks = plan_of(request, machine).masks;
  EXPECT_THAT(masks, ::testing::IsSupersetOf({"/srv/cg", "/mnt/srv/cg"}));
  EXPECT_THAT(masks, Not(Contains("/sys/fs/cgroup/pids")));
}

TEST(ThePlan, BeginsWithTheLimits) {
  RunRequest request = sample_request();
  request.means.steps = {"make a control group of at most 8 processes"};
  EXPECT_THAT(describe(plan_of(request)),
              ::testing::HasSubstr("\n  1. control groups: join the agent's control groups\n"
                                   "     - make a control group of at most 8 processes\n  2. "));
}

TEST(ThePlan, HidesWhatWasAskedForWhereverABindShowsIt) {
  RunRequest request = sample_request();
  request.masks = {"/srv/data/key", "/mnt/data/other"};
  request.binds = {{"/srv/data", "/mnt/data", Access::read_only}};
  EXPECT_THAT(plan_of(request).masks,
              ::testing::IsSupersetOf({"/srv/data/key", "/mnt/data/key", "/mnt/data/other"}));
}

TEST(ThePlan, OfAnOverlayMakesTheAgentRootAndLeavesTheRootsUsersAndHomesAlone) {
  RunRequest request = sample_request();
  request.root = {.source = "/srv/debian", .mode = Root::Mode::overlay, .bytes = 4096};
  const Plan plan = plan_of(request);
  EXPECT_EQ(plan.inside_uid, 0U);
  EXPECT_EQ(plan.user, "root");
  EXPECT_EQ(text_of(plan, "/etc/passwd"), "(none)");
  EXPECT_EQ(text_of(plan, "/etc/apt/apt.conf.d/99sluice"), "APT::Sandbox::User \"root\";\n");
  EXPECT_THAT(mount_paths(plan), Not(Contains("/home")));
  EXPECT_THAT(describe(plan), ::testing::HasSubstr("mount /srv/debian as the root below a writable "
                                                   "tmpfs of at most 4096 bytes"));
  request.root.has_id_range = true;
  EXPECT_EQ(text_of(plan_of(request), "/etc/apt/apt.conf.d/99sluice"), "(none)");
}

TEST(ThePlan, MasksWhatLiesBelowAnotherRootByItsNameInside) {
  RunRequest request = sample_request();
  request.root.source = "/srv/debian";
  Machine machine = sample_machine();
  machine.sockets = {"/srv/debian/var/lib/x.sock", "/var/lib/y.sock"};
  const Plan plan = plan_of(request, machine);
  EXPECT_THAT(plan.masks, Contains("/var/lib/x.sock"));
  EXPECT_THAT(plan.masks, Not(Contains("/var/lib/y.sock")));
  EXPECT_THAT(describe(plan), ::testing::HasSubstr("mount /srv/debian as the root read-only"));
}

}  // namespace
}  // namespace sluice::launcher
