#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <filesystem>
#include <map>
#include <set>

#include "launcher/probes/mount_table.h"
#include "launcher/probes/probe.h"
#include "launcher/probes/proof.h"
#include "launcher/probes/self_check.h"
#include "launcher/sandbox/landlock.h"
#include "weak_places.h"

namespace sluice::launcher::probes {
namespace {

using ::testing::Contains;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* impossible = "impossible here";

const Probe* find(std::string_view name) {
  for (const AreaProbes& area : battery()) {
    for (const Probe& probe : area.probes) {
      if (probe.name == name) return &probe;
    }
  }
  return nullptr;
}

pid_t fork_sleeper() {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) ::pause();
}

[[noreturn]] void arrange_and_attempt(const Probe& probe, Arrange arrange, Scene& scene, int to) {
  ::alarm(60);
  scene.plan.inside_uid = ::geteuid() + 1;
  std::string told = impossible;
  if (arrange(scene)) {
    const pid_t init = scene.init = fork_sleeper();
    Bounds bounds{scene.plan, ::getpid(), init};
    bounds.patience = std::chrono::seconds(2);
    const Answer answer = probe.attempt(bounds);
    told = std::string(to_string(answer.kind)) + " " + answer.what;
    ::kill(init, SIGKILL);
  }
  (void)write_all(to, "pipe", told);
  ::_exit(0);
}

// "KIND WHAT" of the probe in a process that nothing confines; `impossible`; "" when it died.
std::string told_in(Arrange arrange, const char* name) {
  const Probe* const probe = find(name);
  if (probe == nullptr) return "no such probe";
  char folder[] = "/tmp/sluice-probes-XXXXXX";
  if (::mkdtemp(folder) == nullptr) return impossible;
  int ends[2];
  if (::pipe(ends) != 0) return impossible;
  const pid_t pid = ::fork();
  if (pid == 0) {
    Scene scene{folder, {}, 0};
    arrange_and_attempt(*probe, arrange, scene, ends[1]);
  }
  ::close(ends[1]);
  const auto told = read_fd(ends[0], "pipe", 65536);
  ::close(ends[0]);
  ::waitpid(pid, nullptr, 0);
  std::filesystem::remove_all(folder);
  return told ? *told : std::string();
}

bool with_a_core_limit_of_2(Scene&) {
  const rlimit two{2, 2};
  return ::setrlimit(RLIMIT_CORE, &two) == 0;
}

bool with_many_descriptors(Scene&) {
  const rlimit many{65537, 65537};
  return ::setrlimit(RLIMIT_NOFILE, &many) == 0;
}

bool with_the_right_to_load_modules(Scene&) {
  constexpr int sys_module = 16;
  const bool has_modules = ::access("/proc/modules", F_OK) == 0;
  return has_modules && ::geteuid() == 0 && ::prctl(PR_CAPBSET_READ, sys_module, 0, 0, 0) == 1;
}

bool where_there_is_landlock(Scene&) { return landlock_abi() >= first_useful_landlock; }

bool where_landlock_scopes_signals(Scene&) { return landlock_rights(landlock_abi()).scopes != 0; }

struct Weakness {
  const char* probe;
  Arrange arrange;
  const char* what;  // is in what was reached
};

constexpr Weakness weaknesses[] = {
    {"links", with_a_way_out, "the link v"},
    {"routes", with_a_way_out, "a route to 192.0.2.77 from 192.0.2.9"},
    {"socket families", as_it_is, "socket("},
    {"raw sockets", with_powers, "socket(SOCK_RAW), which worked"},
    {"changing links", with_a_way_out, "the flags of lo, which worked"},
    {"tcp", with_a_way_out, "192.0.2.77 port 443 from 192.0.2.9"},
    {"udp", with_a_way_out, "192.0.2.77 port 443, which took a datagram"},
    {"dns", with_a_resolver, "a resolver at 127.0.0.1"},
    {"proxy's ports", with_a_way_out, "connections to the proxy"},
    {"host sockets", with_an_abstract_socket, "@sluice probes "},
    {"host sockets", with_a_socket_by_path, "/socket"},
    {"sockets in sight", with_a_socket_in_sight, "/deep/socket"},
    {"sockets in sight", with_a_fifo_in_sight, "/fifo"},
    {"mount", as_it_is, "mount(2), which answered EFAULT"},
    {"detached mounts", as_it_is, "open_tree(2), which answered EINVAL"},
    {"changing the root", with_powers, "pivot_root(2), which answered EFAULT"},
    {"file handles", as_it_is, "name_to_handle_at(2), which answered E"},
    {"root directory", in_a_careless_root, "making a file in /, which worked"},
    {"kernel switches", in_a_careless_root, "/proc/sysrq-trigger"},
    {"device nodes", as_it_is, "mknod of a device, which answered EFAULT"},
    {"set-uid files", as_it_is, "chmod to 4755, which answered EFAULT"},
    {"mounts", as_it_is, ", mounted "},
    {"writable places", as_it_is, "/"},
    {"devices", with_memory_device, "/dev/anything"},
    {"kernel memory", in_a_careless_root, "/proc/kcore"},
    {"system secrets", in_a_careless_root, "/etc/shadow"},
    {"masked paths", with_a_masked_file, "/file"},
    {"masked paths", with_a_masked_directory, "/tmp/sluice-probes-"},
    {"capabilities", with_powers, "a capability in the effective set"},
    {"no_new_privs", as_it_is, "the rights of set-uid programs"},
    {"filter", as_it_is, "every system call"},
    {"Landlock", where_there_is_landlock, "what the mounts alone leave open"},
    {"ids", as_it_is, "uid "},
    {"host root", as_it_is, "the machine's root, who is uid 0 here"},
    {"user namespace", as_it_is, "unshare(CLONE_NEWUSER), which worked"},
    {"user namespace by clone", as_it_is, "clone(CLONE_NEWUSER), which worked"},
    {"other namespaces", with_powers, "unshare(CLONE_NEWNS), which worked"},
    {"uid 0", with_powers, "uid 0"},
    {"keyrings", as_it_is, "keyctl(2), which "},
    {"io_uring", as_it_is, "io_uring_"},
    {"bpf", as_it_is, "bpf(2), which answered E"},
    {"tracing", as_it_is, "perf_event_open(2), which answered E"},
    {"kernel modules", with_the_right_to_load_modules, "init_module(2), which answered E"},
    {"clock", as_it_is, "clock_settime(2), which answered EFAULT"},
    {"supervisor", as_it_is, "its parent, process "},
    {"namespaces", with_the_machines_namespaces, "the machine's own user:["},
    {"files of pid 1", as_it_is, "/root"},
    {"tracing pid 1", as_it_is, "ptrace(PTRACE_SEIZE), which worked"},
    {"memory of pid 1", as_it_is, "process_vm_readv(2), which answered EFAULT"},
    {"limits of others", as_it_is, "prlimit(2) of pid 1, which worked"},
    {"signals", where_landlock_scopes_signals, "pid 1"},
    {"descriptors", as_it_is, "descriptor "},
    {"other processes", as_it_is, "process "},
    {"core files", with_a_core_limit_of_2, "the machine's core_pattern helper"},
    {"open files", with_many_descriptors, "65537 descriptors"},
    {"memory in files", with_unlimited_memory, "memory without an end in /"},
    {"memory in files", with_more_memory_than_planned, "1048576 bytes in /tmp/sluice-probes-"},
    {"typing", as_it_is, "TIOCSTI, which answered EBADF"},
    {"terminals", with_somebody_elses_terminal, "the terminal at descriptor 0"},
    {"controlling terminal", as_it_is, "the session that sluice was started in"},
};

// What only root, or another kernel, can have.
bool may_be_impossible(std::string_view probe) {
  if (probe == "signals") return !(landlock_rights(landlock_abi()).scopes != 0);
  if (probe == "Landlock") return landlock_abi() < first_useful_landlock;
  return probe == "devices" || probe == "kernel modules" || probe == "open files";
}

TEST(EveryProbe, ReachesWhatItLooksForWhereNothingHoldsIt) {
  if (::prctl(PR_GET_SECCOMP) != 0 || ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) {
    GTEST_SKIP() << "the tests run under a system call filter themselves";
  }
  if (told_in(with_powers, "capabilities") == impossible) {
    GTEST_SKIP() << "this user may make no user namespace here";
  }
  if (told_in(with_a_way_out, "links") == impossible) {
    GTEST_SKIP() << "the kernel has no links of kind veth, or there is no ip(8)";
  }
  for (const Weakness& weakness : weaknesses) {
    const std::string told = told_in(weakness.arrange, weakness.probe);
    if (told == impossible && may_be_impossible(weakness.probe)) continue;
    EXPECT_TRUE(told.starts_with("reached ")) << weakness.probe << ": " << told;
    EXPECT_NE(told.find(weakness.what), std::string::npos) << weakness.probe << ": " << told;
  }
}

TEST(EveryProbe, HasANameOfItsOwnAndAPlaceWhereItFails) {
  std::set<std::string> weak;
  for (const Weakness& weakness : weaknesses) weak.insert(weakness.probe);
  std::set<std::string> names;
  for (const AreaProbes& area : battery()) {
    for (const Probe& probe : area.probes) {
      EXPECT_TRUE(names.insert(probe.name).second) << probe.name;
    }
  }
  EXPECT_EQ(names, weak);
}

TEST(TheSelfCheck, NamesTheFirstProbeThatDidNotHoldAndWhatItReached) {
  Plan plan;
  plan.outside.addresses = {"127.0.0.1"};
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto checked = check_before_exec({plan, ::getpid()});
    const bool says = !checked && checked.error().code == Errc::not_permitted &&
                      checked.error().what.starts_with("the sandbox leaks: the probe '") &&
                      checked.error().what.find("' reached ") != std::string::npos;
    ::_exit(says ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(Outcomes, AreOneForEachProbeAndSilenceIsNoAnswer) {
  const auto outcomes = read_outcomes(
      "{\"probe\":\"links\",\"outcome\":\"held\",\"what\":\"\"}\n"
      "nonsense\n[]\n{\"probe\":1}\n"
      "{\"probe\":\"routes\",\"outcome\":\"reached\",\"what\":\"a\\u001bb\"}\n"
      "{\"probe\":\"tcp\",\"outcome\":\"not_applicable\",\"what\":\"why\"}\n"
      "{\"probe\":\"udp\",\"outcome\":\"else\"}\n{\"probe\":\"dns\",\"outcome\":7,\"what\":8}\n"
      "{\"probe\":\"unknown\",\"outcome\":\"held\"}\n");
  std::map<std::string, const Outcome*> named;
  for (const Outcome& outcome : outcomes) named[outcome.name] = &outcome;
  EXPECT_EQ(named.at("links")->answer.kind, Answer::Kind::held);
  EXPECT_EQ(named.at("routes")->answer.what,
            "a\x1b"
            "b");
  EXPECT_TRUE(holds(*named.at("links")));
  EXPECT_TRUE(holds(*named.at("tcp")));
  for (const char* name : {"routes", "udp", "dns", "mount"}) {
    EXPECT_FALSE(holds(*named.at(name))) << name;
  }
  EXPECT_EQ(named.at("mount")->answer.kind, Answer::Kind::no_answer);
  EXPECT_FALSE(named.contains("unknown"));
}

TEST(Outcomes, AreATableWithWhatWasReachedBelow) {
  const std::vector<Outcome> outcomes{
      {Area::network, "links", "looks", held()},
      {Area::network, "tcp", "connects", reached("a\x1b")},
      {Area::terminal, "typing", "types", not_applicable("why")},
      {Area::terminal, "x", "tries", {Answer::Kind::no_answer, "silence"}}};
  EXPECT_EQ(to_table(outcomes),
            "network\n"
            "  held       links   looks\n"
            "  REACHED    tcp     connects\n"
            "             a\\x1b\n"
            "terminal\n"
            "  -          typing  types\n"
            "             why\n"
            "  NO ANSWER  x       tries\n"
            "             silence\n"
            "\n"
            "the sandbox leaks: 2 of 4 probes did not hold\n");
  EXPECT_EQ(to_json({outcomes[1]}),
            "[{\"area\":\"network\",\"name\":\"tcp\",\"tries\":\"connects\","
            "\"outcome\":\"reached\",\"what\":\"a\\u001b\"}]\n");
}

TEST(TheMountTable, TellsEachMountsOwnFlags) {
  const HostMount mount{"254:0", "/a", "/b", "ext4", "rw", "rw,nosuid,nodevice"};
  EXPECT_TRUE(has_option(mount, "nosuid"));
  EXPECT_FALSE(has_option(mount, "nodev"));
  EXPECT_FALSE(is_device_file(mount));
  EXPECT_TRUE(is_device_file({"0:6", "/null", "/dev/null", "rw", "devtmpfs"}));
}

TEST(WhatIsOutside, HasTheMachinesNamespacesSocketsAndAddresses) {
  Scene scene;
  ASSERT_TRUE(with_an_abstract_socket(scene));
  Machine machine;
  machine.sockets = {"/run/a.sock"};
  const Outside outside = look_outside(machine);
  EXPECT_THAT(outside.namespaces, Contains(StartsWith("net:[")));
  EXPECT_THAT(outside.sockets, Contains("/run/a.sock"));
  EXPECT_THAT(outside.sockets, Contains(scene.plan.outside.sockets.front()));
  EXPECT_THAT(outside.addresses, Contains("169.254.169.254"));
  EXPECT_THAT(outside.addresses, Not(Contains("127.0.0.1")));
}

TEST(AbstractNames, AreThoseWithAnAtSignAndNoPath) {
  EXPECT_EQ(abstract_names("Num       RefCount Protocol Flags    Type St Inode Path\n"
                           "0: 00000002 00000000 00010000 0001 01 123 @/tmp/dbus x\n"
                           "0: 00000002 00000000 00010000 0001 01 124 /run/a @b\n"
                           "0: 00000002 00000000 00010000 0001 01 125\n"
                           "0: 00000002 00000000 00010000 0001 01 126 @a\n"),
            (std::vector<std::string>{"@/tmp/dbus x", "@a"}));
}

}  // namespace
}  // namespace sluice::launcher::probes
