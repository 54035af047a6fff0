#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "launcher/doctor/findings.h"
#include "launcher/doctor/look.h"
#include "launcher/doctor/report.h"
#include "launcher/doctor/sandbox_findings.h"
#include "launcher/doctor/trial.h"

namespace sluice::launcher::doctor {
namespace {

using ::testing::HasSubstr;

using End = Attempt::End;

Attempt worked() { return {End::worked, 0, {}, {}}; }
Attempt failed(int error_number, std::string what = "it failed", std::string hint = {}) {
  return {End::failed, error_number, std::move(what), std::move(hint)};
}

// A machine on which an ordinary user lacks nothing.
Facts whole() {
  Facts facts;
  facts.uid = 1000;
  facts.user = "ann";
  facts.release = "6.12.0-amd64";
  facts.calls = {{"openat2", "5.6", 0}, {"mount_setattr", "5.12", EINVAL}};
  facts.sandbox = {worked(), worked(), worked(), worked(), worked(),
                   worked(), worked(), worked(), true,     true};
  facts.has_ipv6 = true;
  facts.landlock_abi = 6;
  facts.cgroup.readable = true;
  facts.cgroup.why_no_scope = "there is no systemd to ask";
  facts.cgroup.hierarchies = {{cgroup::Version::v2, {}, "/sys/fs/cgroup/a"}};
  facts.cgroup.place.grounds = {{cgroup::Version::v2, "/sys/fs/cgroup/a", {}}};
  facts.subids = {65536, 65536, true, true, true, true};
  facts.has_sluiced = true;
  facts.vsock_error = EAFNOSUPPORT;
  return facts;
}

Finding named(const Facts& facts, std::string_view name) {
  for (Finding& finding : findings(facts)) {
    if (finding.name == name) return finding;
  }
  ADD_FAILURE() << "no finding is named " << name;
  return {};
}

TEST(Doctor, FindsNothingToMendWhereNothingIsLacking) {
  for (const Finding& finding : findings(whole())) {
    EXPECT_EQ(finding.state, State::ok) << finding.name << ": " << finding.means;
    EXPECT_EQ(finding.mend, "") << finding.name;
    EXPECT_NE(finding.means, "") << finding.name;
  }
  EXPECT_TRUE(can_run(findings(whole())));
}

TEST(Doctor, NamesTheSettingThatForbidsUserNamespaces) {
  struct Case {
    int error_number;
    NamespaceSettingsFact settings;
    std::string mend;
  };
  const std::vector<Case> cases = {
      {ENOSPC, {"0", "15000", "", ""}, "sysctl -w user.max_user_namespaces=15000"},
      {ENOSPC, {"15000", "0", "", ""}, "sysctl -w user.max_net_namespaces=15000"},
      {EPERM, {"15000", "", "0", ""}, "sysctl -w kernel.unprivileged_userns_clone=1"},
      {EINVAL, {}, "boot a kernel with CONFIG_USER_NS and CONFIG_NET_NS"},
      {EAGAIN, {}, "ulimit -u, or the pids.max of the cgroup"},
      {EUSERS, {}, "start sluice outside of some of them"},
      {EPERM,
       {"15000", "", "1", ""},
       "in a container: start it with --security-opt seccomp=unconfined --security-opt "
       "systempaths=unconfined"},
  };
  for (const Case& one : cases) {
    Facts facts = whole();
    facts.settings = one.settings;
    facts.sandbox = {};
    facts.sandbox.host_id = worked();
    facts.sandbox.user_namespace = failed(one.error_number);
    const Finding finding = named(facts, "user namespaces");
    EXPECT_EQ(finding.state, State::missing) << one.mend;
    EXPECT_EQ(finding.mend, one.mend);
    EXPECT_EQ(named(facts, "sandbox").state, State::unknown);
    EXPECT_EQ(named(facts, "network").state, State::unknown);
    EXPECT_FALSE(can_run(findings(facts)));
  }
}

TEST(Doctor, TellsAppArmorFromAReadOnlyProcWhereTheMapCannotBeWritten) {
  Facts facts = whole();
  facts.sandbox.user_map = failed(EACCES);
  facts.settings.apparmor_restrict = "1";
  EXPECT_EQ(named(facts, "user namespaces").mend,
            "give sluice such a profile, or sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0");
  facts.sandbox.user_map = failed(EROFS);
  EXPECT_EQ(named(facts, "user namespaces").mend,
            "in a container: start it with --security-opt systempaths=unconfined (podman: "
            "--security-opt unmask=ALL)");
}

TEST(Doctor, SaysThatWithoutNfTablesThePolicysPortsWorkAndNamedNetworksDoNot) {
  Facts facts = whole();
  facts.sandbox.nf_tables = false;
  facts.sandbox.captured = false;
  const Finding finding = named(facts, "network");
  EXPECT_EQ(finding.state, State::limited);
  EXPECT_EQ(finding.means,
            "without nf_tables 'sluice run' works with the ports that the policy names and no "
            "others; named networks and pods (sluice-netns) do not work");
  EXPECT_EQ(finding.mend, "modprobe -a nf_tables nft_tproxy nft_objref nft_reject_inet");
  EXPECT_TRUE(can_run(findings(facts)));
}

TEST(Doctor, TellsARefusedSystemCallFromAnUnknownOne) {
  Facts facts = whole();
  facts.calls = {{"openat2", "5.6", 0}, {"mount_setattr", "5.12", ENOSYS}};
  Finding finding = named(facts, "kernel");
  EXPECT_EQ(finding.state, State::missing);
  EXPECT_EQ(finding.means,
            "Linux 6.12.0-amd64 does not know mount_setattr (5.12): no sandbox can be made");
  facts.calls[1].error_number = EPERM;
  finding = named(facts, "kernel");
  EXPECT_EQ(finding.mend, "in a container: start it with --security-opt seccomp=unconfined");
  EXPECT_FALSE(can_run(findings(facts)));
  facts.calls[1].error_number = EINVAL;
  facts.release = "5.14.9";
  EXPECT_EQ(named(facts, "kernel").state, State::limited);
  facts.release = "5.15.0";
  EXPECT_EQ(named(facts, "kernel").state, State::ok);
}

TEST(Doctor, SaysWhatEachLandlockLacks) {
  Facts facts = whole();
  facts.landlock_abi = 1;
  EXPECT_EQ(named(facts, "Landlock").means,
            "ABI 1 would refuse every rename between directories, and is not used; 'sluice run' "
            "works without");
  facts.landlock_abi = 3;
  EXPECT_EQ(
      named(facts, "Landlock").means,
      "ABI 3 fences files; TCP ports (ABI 4), abstract sockets and signals (ABI 6) it cannot");
  facts.landlock_abi = 5;
  EXPECT_EQ(named(facts, "Landlock").means,
            "ABI 5 fences files and TCP ports; abstract sockets and signals (ABI 6) it cannot");
  facts.landlock_abi = 0;
  facts.landlock_error = EOPNOTSUPP;
  EXPECT_EQ(named(facts, "Landlock").mend,
            "boot with landlock among lsm= (its other names: cat /sys/kernel/security/lsm)");
  EXPECT_TRUE(can_run(findings(facts)));
}

// As `sluice run`, which stops there: an answer that a filter makes up says nothing of the kernel.
TEST(Doctor, RequiresAnAnswerAboutLandlock) {
  Facts facts = whole();
  facts.landlock_abi = 0;
  facts.landlock_error = EPERM;
  EXPECT_EQ(named(facts, "Landlock").state, State::missing);
  EXPECT_EQ(named(facts, "Landlock").mend,
            "in a container: start it with --security-opt seccomp=unconfined");
  EXPECT_FALSE(can_run(findings(facts)));
  facts.landlock_error = ENOSYS;
  EXPECT_TRUE(can_run(findings(facts)));
}

TEST(Doctor, RequiresASluicedUnlessASharedOneIsThere) {
  Facts facts = whole();
  facts.has_sluiced = false;
  facts.sluiced = "/opt/sluiced";
  EXPECT_EQ(named(facts, "sluiced").means, "there is no proxy to start: no program '/opt/sluiced'");
  EXPECT_FALSE(can_run(findings(facts)));
  facts.shared = worked();
  EXPECT_TRUE(can_run(findings(facts)));
  facts.has_sluiced = true;
  facts.shared = failed(0, "cannot connect to '/run/sluice/handover.sock': Connection refused");
  EXPECT_EQ(named(facts, "sluiced").means,
            "the shared sluiced does not answer: cannot connect to '/run/sluice/handover.sock': "
            "Connection refused");
  EXPECT_FALSE(can_run(findings(facts)));
}

TEST(Doctor, SaysBelowWhichGroupsAnAgentsAreMade) {
  EXPECT_EQ(
      named(whole(), "cgroups").means,
      "each agent's memory, processes and CPUs can be limited, in groups below '/sys/fs/cgroup/a'");
}

TEST(Doctor, MendsACgroupThatIsNotDelegatedByAScope) {
  Facts facts = whole();
  const std::string why = "'/sys/fs/cgroup/a' may not be written by this user";
  facts.cgroup.place.lacking = {
      {cgroup::Controller::memory, why},
      {cgroup::Controller::pids, why},
      {cgroup::Controller::cpu, "no control group has the controller cpu"}};
  EXPECT_EQ(named(facts, "cgroups").state, State::limited);
  EXPECT_EQ(named(facts, "cgroups").means,
            "--memory holds for each process alone, --pids is an rlimit, --cpus is not kept "
            "(memory, pids: '/sys/fs/cgroup/a' may not be written by this user; cpu: no control "
            "group has the controller cpu)");
  EXPECT_EQ(named(facts, "cgroups").mend,
            "systemd-run --user --scope -p Delegate=yes -- sluice run ...");
  facts.cgroup.why_no_scope.clear();
  EXPECT_EQ(named(facts, "cgroups").state, State::ok);
  EXPECT_EQ(named(facts, "cgroups").means,
            "the limits that are asked for are kept in a scope that systemd is asked for; else an "
            "agent's processes alone are limited, by an rlimit");
  facts.cgroup.why_no_scope = "this user has no bus to ask systemd on";
  facts.uid = 0;
  EXPECT_EQ(named(facts, "cgroups").mend, "systemd-run --scope -p Delegate=yes -- sluice run ...");
}

TEST(Doctor, MendsWhatNoScopeMends) {
  Facts facts = whole();
  facts.cgroup.place.lacking = {{cgroup::Controller::pids, "for a reason"}};
  EXPECT_EQ(named(facts, "cgroups").means, "--pids is an rlimit (pids: for a reason)");
  facts.cgroup.hierarchies[0].version = cgroup::Version::v1;
  EXPECT_EQ(named(facts, "cgroups").mend, "boot with systemd.unified_cgroup_hierarchy=1");
  facts.cgroup.hierarchies[0].own.clear();
  EXPECT_EQ(named(facts, "cgroups").mend, "start the container with --cgroupns=private");
  facts.cgroup.hierarchies.clear();
  EXPECT_EQ(named(facts, "cgroups").mend, "mount -t cgroup2 none /sys/fs/cgroup");
}

TEST(Doctor, MendsMissingSubordinateIdsByTheUsersName) {
  Facts facts = whole();
  facts.subids = {};
  EXPECT_EQ(named(facts, "subordinate ids").mend,
            "apt-get install uidmap && usermod --add-subuids 200000-265535 --add-subgids "
            "200000-265535 ann");
  const std::string give = "usermod --add-subuids 200000-265535 --add-subgids 200000-265535 ann";
  facts.subids = {65536, 65536, true, true, true, false};  // in pieces
  EXPECT_EQ(named(facts, "subordinate ids").mend, give);
  facts.subids = {65536, 65536, true, true, false, false};
  EXPECT_EQ(named(facts, "subordinate ids").mend, "chmod u+s $(which newuidmap newgidmap)");
  facts.uid = 0;
  EXPECT_EQ(named(facts, "subordinate ids").state, State::ok);
}

TEST(Doctor, SaysWhereAnOverlayLiesAndWhetherItsCapIsEnforced) {
  Facts facts = whole();
  EXPECT_EQ(named(facts, "overlays").state, State::ok);
  facts.has_user_attributes = false;
  facts.uid = 0;
  EXPECT_EQ(named(facts, "overlays").state, State::ok);
  facts.uid = 1000;
  facts.has_trusted_attributes = false;
  EXPECT_EQ(named(facts, "overlays").state, State::limited);
  EXPECT_THAT(named(facts, "overlays").means, HasSubstr("its cap is watched, not enforced"));
  facts.uid = 0;
  EXPECT_EQ(named(facts, "overlays").state, State::limited);
  EXPECT_THAT(named(facts, "overlays").means, HasSubstr("no agent can have an overlay"));
}

TEST(Doctor, SaysOfRootsDirectoryWhetherItsOwnersCanBeMapped) {
  Facts facts = whole();
  facts.uid = 0;
  facts.id_map = failed(EINVAL, "mount_setattr: Invalid argument");
  EXPECT_EQ(named(facts, "idmapped mounts").means,
            "the file system of the current directory cannot map owners (mount_setattr: Invalid "
            "argument): it cannot be the workspace of root's agents");
  facts.id_map = failed(0, "root cannot make a user namespace");
  EXPECT_EQ(named(facts, "idmapped mounts").mend, "run sluice as an ordinary user");
  facts.id_map = worked();
  EXPECT_EQ(named(facts, "idmapped mounts").state, State::ok);
}

TEST(SubordinateIds, AreCountedByNameAndByNumber) {
  const char* const file = "ann:100000:65536\nbob:200000:65536\n1000:300000:10\nann:broken\n";
  EXPECT_EQ(count_subids(file, "ann", 1000), 65546U);
  EXPECT_EQ(count_subids(file, "eve", 7), 0U);
}

TEST(Steps, ThatFailedOrFellSilentAreToldApart) {
  const SandboxFact broken = read_steps(
      R"({"step":"host id","worked":true})"
      "\nnonsense\n"
      R"({"step":"user namespace","worked":false,"errno":28,"what":"unshare","hint":"h"})");
  EXPECT_EQ(broken.host_id.end, End::worked);
  EXPECT_EQ(broken.user_namespace.end, End::failed);
  EXPECT_EQ(broken.user_namespace.error_number, ENOSPC);
  EXPECT_EQ(broken.user_map.end, End::not_tried);
  const SandboxFact silent = read_steps(R"({"step":"host id","worked":true})");
  EXPECT_EQ(silent.user_namespace.end, End::no_answer);
}

TEST(Report, IsATableWithWhatMendsItBelowAndALineAtTheEnd) {
  const std::vector<Finding> two = {
      {"kernel", State::ok, "it is new", {}, Required::yes},
      {"user namespaces", State::missing, "none\x1b", "sysctl", Required::yes}};
  EXPECT_EQ(to_table(two),
            "kernel           ok       it is new\n"
            "user namespaces  missing  none\\x1b\n"
            "                          mend: sysctl\n"
            "\n"
            "'sluice run' does not work here: user namespaces\n");
  EXPECT_EQ(to_json(two),
            "[{\"name\":\"kernel\",\"state\":\"ok\",\"means\":\"it is new\",\"mend\":\"\"},"
            "{\"name\":\"user namespaces\",\"state\":\"missing\",\"means\":\"none\\u001b\","
            "\"mend\":\"sysctl\"}]\n");
}

}  // namespace
}  // namespace sluice::launcher::doctor
