#include <fmt/core.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/fd.h"
#include "base/io.h"
#include "launcher/probes/areas.h"
#include "launcher/probes/attempt.h"
#include "launcher/sandbox/landlock.h"

namespace sluice::launcher::probes {
namespace {

constexpr auto before_exec = When::before_exec;
constexpr auto in_proof = When::in_proof;

constexpr std::size_t longest_number = 32;

// An overlay's root keeps a few in its own namespace.
std::uint64_t kept_capabilities(const Plan& plan) {
  std::uint64_t kept = 0;
  if (!plan.root.is_overlay()) return kept;
  for (const int cap : overlay_capabilities) kept |= std::uint64_t{1} << cap;
  return kept;
}

Answer no_capabilities(const Bounds& bounds) {
  std::uint64_t kept = kept_capabilities(bounds.plan);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return reached("no answer of capget(2)");
  for (const auto& set : sets) {
    const auto allowed = static_cast<__u32>(kept);
    if ((set.effective & ~allowed) != 0) return reached("a capability in the effective set");
    if ((set.permitted & ~allowed) != 0) return reached("a capability in the permitted set");
    kept >>= 32U;
    if (set.inheritable != 0) return reached("a capability in the inheritable set");
  }
  for (unsigned long number = 0;; ++number) {
    const int bounding = ::prctl(PR_CAPBSET_READ, number, 0, 0, 0);
    if (bounding < 0) return held();  // behind the last one
    const bool may_be = (kept_capabilities(bounds.plan) >> number & 1U) != 0;
    if (bounding != 0 && !may_be) return reached("a capability in the bounding set");
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, number, 0, 0) != 0) {
      return reached("a capability in the ambient set");
    }
  }
}

Answer no_new_privileges(const Bounds&) {
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return held();
  return reached("the rights of set-uid programs");
}

Answer filter_is_loaded(const Bounds&) {
  if (::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER) return held();
  return reached("every system call");
}

// Nobody is told of the fence that he is in; but the kernel sets at most 16 upon each other
// (landlock(7)), and who can enter as many more is in none.
Answer is_fenced(const Bounds&) {
  constexpr int most_layers = 16;
  const int abi = landlock_abi();
  if (abi < 0) return not_applicable("the kernel does not say which Landlock it has");
  if (abi < first_useful_landlock) return not_applicable(landlock_notice(abi));
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK;
  const Fd ruleset(static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0)));
  if (!ruleset) return reached("no answer of landlock_create_ruleset(2)");
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  int entered = 0;
  while (entered < most_layers && ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0) {
    ++entered;
  }
  if (entered == most_layers) return reached("what the mounts alone leave open");
  if (errno != E2BIG) return reached("no answer of landlock_restrict_self(2)");
  const char* const scopes = landlock_rights(abi).scopes != 0 ? ", signals, abstract sockets" : "";
  return {Answer::Kind::held, fmt::format("ABI {}: files{}", abi, scopes)};
}

Answer ids_are_the_agents(const Bounds& bounds) {
  uid_t uids[3];
  gid_t gids[3];
  if (::getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
      ::getresgid(&gids[0], &gids[1], &gids[2]) != 0) {
    return reached("no answer of getresuid(2)");
  }
  for (const uid_t uid : uids) {
    if (uid != bounds.plan.inside_uid) return reached("uid " + std::to_string(uid));
  }
  for (const gid_t gid : gids) {
    if (gid != bounds.plan.inside_gid) return reached("gid " + std::to_string(gid));
  }
  return held();
}

// A file of procfs belongs to the machine's root. Whoever has no number here is shown as the
// overflow id (user_namespaces(7)).
Answer host_root_is_nobody(const Bounds& bounds) {
  struct stat status {};
  const auto overflow = read_file("/proc/sys/kernel/overflowuid", longest_number);
  if (!overflow || ::stat("/proc/version", &status) != 0) return reached("no answer of /proc");
  const bool is_nobody = *overflow == std::to_string(status.st_uid) + "\n";
  const bool is_agent = status.st_uid == bounds.plan.inside_uid;
  if (is_nobody && is_agent) return not_applicable("the agent's uid is the one of nobody");
  if (is_nobody) return held();
  return reached(fmt::format("the machine's root, who is uid {} here", status.st_uid));
}

Answer no_user_namespace(const Bounds&) {
  return refused({{"unshare(CLONE_NEWUSER)", SYS_unshare, {CLONE_NEWUSER}},
                  {"setns(2)", SYS_setns, {no_fd, CLONE_NEWUSER}}});
}

Answer no_namespace_by_clone(const Bounds&) {
  for (const unsigned long flags : {CLONE_NEWUSER | 0UL, CLONE_NEWUSER | high_bit}) {
    const long pid = ::syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) ::_exit(0);
    if (pid < 0 && is_refusal(errno)) continue;
    return reached(let_in("clone(CLONE_NEWUSER)", pid, errno));
  }
  return refused({"clone3(2)", SYS_clone3, {nowhere, 64}});
}

Answer no_other_namespace(const Bounds&) {
  return refused({{"unshare(CLONE_NEWNS)", SYS_unshare, {CLONE_NEWNS}},
                  {"unshare(CLONE_NEWNET)", SYS_unshare, {CLONE_NEWNET}},
                  {"unshare(CLONE_NEWPID)", SYS_unshare, {CLONE_NEWPID}},
                  {"unshare(CLONE_NEWIPC)", SYS_unshare, {CLONE_NEWIPC}},
                  {"unshare(CLONE_NEWUTS)", SYS_unshare, {CLONE_NEWUTS}},
                  {"unshare(CLONE_NEWCGROUP)", SYS_unshare, {CLONE_NEWCGROUP}}});
}

Answer cannot_become_root(const Bounds& bounds) {
  if (bounds.plan.inside_uid == 0) return not_applicable("the agent is root of its namespace");
  if (::syscall(SYS_setresuid, 0, 0, 0) == 0) return reached("uid 0");
  if (::syscall(SYS_setresgid, 0, 0, 0) == 0) return reached("gid 0");
  const gid_t root = 0;
  if (::syscall(SYS_setgroups, 1, &root) == 0) return reached("group 0");
  return held();
}

Answer no_keyring(const Bounds&) {
  constexpr auto session = static_cast<unsigned long>(KEY_SPEC_SESSION_KEYRING);
  return refused({{"keyctl(2)", SYS_keyctl, {KEYCTL_GET_KEYRING_ID, session, 0}},
                  {"keyctl(2)", SYS_keyctl, {high_bit | KEYCTL_GET_KEYRING_ID, session, 0}},
                  {"add_key(2)", SYS_add_key, {nowhere, nowhere, nowhere, 0, 0}},
                  {"request_key(2)", SYS_request_key, {nowhere, nowhere, nowhere, 0}}});
}

Answer no_ring(const Bounds&) {
  return refused({{"io_uring_setup(2)", SYS_io_uring_setup, {1, nowhere}},
                  {"io_uring_enter(2)", SYS_io_uring_enter, {no_fd}},
                  {"io_uring_register(2)", SYS_io_uring_register, {no_fd}}});
}

Answer no_kernel_programs(const Bounds&) {
  constexpr unsigned long longest_attribute = 4096;
  return refused({"bpf(2)", SYS_bpf, {0, nowhere, longest_attribute}});
}

Answer no_tracing(const Bounds&) {
  return refused({{"perf_event_open(2)", SYS_perf_event_open, {nowhere, 0, no_fd, no_fd, 0xffff}},
                  {"userfaultfd(2)", SYS_userfaultfd, {1 /* UFFD_USER_MODE_ONLY */}}});
}

Answer no_modules(const Bounds&) {
  return refused({{"init_module(2)", SYS_init_module, {nowhere, 0, nowhere}},
                  {"finit_module(2)", SYS_finit_module, {no_fd, nowhere, 0}},
                  {"delete_module(2)", SYS_delete_module, {nowhere, 0}},
                  {"kexec_load(2)", SYS_kexec_load, {0, 0, 0, 0x7fff}}});
}

Answer no_clock(const Bounds&) {
  return refused({{"clock_settime(2)", SYS_clock_settime, {0, nowhere}},
                  {"settimeofday(2)", SYS_settimeofday, {nowhere, 0}},
                  {"adjtimex(2)", SYS_adjtimex, {nowhere}},
                  {"clock_adjtime(2)", SYS_clock_adjtime, {0, nowhere}}});
}

constexpr Probe probes[] = {
    {"capabilities", "looks for a capability in any set", before_exec, no_capabilities},
    {"no_new_privs", "asks whether set-uid programs would give rights", before_exec,
     no_new_privileges},
    {"filter", "asks for the system call filter", before_exec, filter_is_loaded},
    {"Landlock", "looks for a place without its fence", in_proof, is_fenced},
    {"ids", "looks for any other uid or gid", before_exec, ids_are_the_agents},
    {"host root", "looks whether the machine's root has a number", before_exec,
     host_root_is_nobody},
    {"user namespace", "makes or joins a user namespace", before_exec, no_user_namespace},
    {"user namespace by clone", "starts a process in a user namespace", in_proof,
     no_namespace_by_clone},
    {"other namespaces", "makes a namespace of each other kind", in_proof, no_other_namespace},
    {"uid 0", "becomes root", in_proof, cannot_become_root},
    {"keyrings", "asks for keys, which no namespace divides", before_exec, no_keyring},
    {"io_uring", "makes a ring for system calls that no filter sees", before_exec, no_ring},
    {"bpf", "loads a program into the kernel", before_exec, no_kernel_programs},
    {"tracing", "watches events and page faults of the kernel", before_exec, no_tracing},
    {"kernel modules", "loads and removes modules, and another kernel", before_exec, no_modules},
    {"clock", "sets the machine's clock", in_proof, no_clock},
};

}  // namespace

std::span<const Probe> privilege_probes() { return probes; }

}  // namespace sluice::launcher::probes
