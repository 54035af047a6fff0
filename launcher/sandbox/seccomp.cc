#include "launcher/sandbox/seccomp.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <memory>

namespace sluice::launcher {
namespace {

using Argument = unsigned;

constexpr std::uint64_t low_32_bits = 0xffffffff;

constexpr std::array<const char*, 47> refused{
    // other people's kernels: tracing, modules, time, boot, swap, accounting
    "bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module",
    "finit_module", "delete_module", "acct", "swapon", "swapoff", "reboot", "settimeofday",
    "clock_settime", "adjtimex", "clock_adjtime", "quotactl", "quotactl_fd", "iopl", "ioperm",
    "syslog", "vhangup", "lookup_dcookie", "nfsservctl", "uselib", "_sysctl",
    // rings that make system calls without making them
    "io_uring_setup", "io_uring_enter", "io_uring_register",
    // keys are not namespaced by owner
    "keyctl", "add_key", "request_key",
    // file systems and namespaces
    "setns", "mount", "umount2", "pivot_root", "fsopen", "fsconfig", "fsmount", "fspick",
    "open_tree", "move_mount", "mount_setattr", "open_by_handle_at", "name_to_handle_at",
    "sethostname", "setdomainname"};

// A set of rules whose first failure is remembered, so that the list reads as a list.
class Rules {
 public:
  explicit Rules(scmp_filter_ctx context) : context_(context) {}

  // An `error` of 0: answers success and does nothing.
  void refuse(const char* name, const std::vector<scmp_arg_cmp>& conditions, int error = EPERM) {
    add(name, conditions, SCMP_ACT_ERRNO(static_cast<std::uint16_t>(error)));
  }

  // Somebody else answers (seccomp_unotify(2)).
  void hold_back(const char* name, const std::vector<scmp_arg_cmp>& conditions) {
    add(name, conditions, SCMP_ACT_NOTIFY);
  }

  const std::string& failure() const { return failure_; }

 private:
  void add(const char* name, const std::vector<scmp_arg_cmp>& conditions, std::uint32_t action) {
    const int number = ::seccomp_syscall_resolve_name(name);
    // Unknown to libseccomp: newer than the last number that the prologue lets through. Below zero:
    // another architecture's.
    if (number < 0) return;
    const int result = ::seccomp_rule_add_array(
        context_, action, number, static_cast<unsigned>(conditions.size()), conditions.data());
    if (result != 0 && failure_.empty()) failure_ = fmt::format("rule for {}: {}", name, -result);
  }

  scmp_filter_ctx context_;
  std::string failure_;
};

scmp_arg_cmp equals(Argument argument, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, low_32_bits, value};
}
scmp_arg_cmp has_bits(Argument argument, std::uint64_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, bits};
}

void refuse_families(Rules& rules) {
  constexpr unsigned families_by_name = 64;  // above them: any of the higher bits
  for (const char* call : {"socket", "socketpair"}) {
    for (unsigned family = 0; family < families_by_name; ++family) {
      const bool allowed =
          family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
      if (!allowed) rules.refuse(call, {equals(0, family)}, EAFNOSUPPORT);
    }
    for (unsigned bit = 6; bit < 32; ++bit) {
      rules.refuse(call, {has_bits(0, std::uint64_t{1} << bit)}, EAFNOSUPPORT);
    }
  }
  // NETLINK_ROUTE is 0: any bit makes it another protocol.
  for (unsigned bit = 0; bit < 32; ++bit) {
    rules.refuse("socket", {equals(0, AF_NETLINK), has_bits(2, std::uint64_t{1} << bit)},
                 EPROTONOSUPPORT);
  }
}

void refuse_namespaces(Rules& rules) {
  constexpr std::array<unsigned, 7> kinds{CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,   CLONE_NEWNET,
                                          CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP};
  for (const unsigned kind : kinds) {
    rules.refuse("clone", {has_bits(0, kind)});
    rules.refuse("unshare", {has_bits(0, kind)});
  }
  rules.refuse("unshare", {has_bits(0, 0x80)});  // CLONE_NEWTIME
  // Its flags are behind a pointer; libc falls back to clone().
  rules.refuse("clone3", {}, ENOSYS);
}

// A file of the workspace that is setuid runs on the host with the rights of the workspace's owner.
void refuse_set_id_bits(Rules& rules, FilterFor whom) {
  struct Call {
    const char* name;
    Argument mode;
  };
  constexpr std::array<Call, 4> changing{
      {{"chmod", 1}, {"fchmod", 1}, {"fchmodat", 2}, {"fchmodat2", 2}}};
  constexpr std::array<Call, 5> making_one{
      {{"creat", 1}, {"mkdir", 1}, {"mkdirat", 2}, {"mknod", 1}, {"mknodat", 2}}};
  constexpr std::uint64_t temporary_file = O_TMPFILE & ~O_DIRECTORY;
  for (const std::uint64_t bit : {std::uint64_t{S_ISUID}, std::uint64_t{S_ISGID}}) {
    for (const Call& call : making_one) rules.refuse(call.name, {has_bits(call.mode, bit)});
    for (const Call& call : changing) {
      if (whom == FilterFor::agent) {
        rules.refuse(call.name, {has_bits(call.mode, bit)});
      } else {
        rules.hold_back(call.name, {has_bits(call.mode, bit)});
      }
    }
    for (const std::uint64_t making : {std::uint64_t{O_CREAT}, temporary_file}) {
      rules.refuse("open", {has_bits(1, making), has_bits(2, bit)});
      rules.refuse("openat", {has_bits(2, making), has_bits(3, bit)});
    }
  }
  // Its mode is behind a pointer; callers fall back to openat().
  rules.refuse("openat2", {}, ENOSYS);
}

// The supervisor and the proxy may run under the agent's host id. Asking stays allowed.
void refuse_limits_of_others(Rules& rules) {
  const scmp_arg_cmp sets_new_limits{2, SCMP_CMP_NE, 0, 0};
  for (unsigned bit = 0; bit < 32; ++bit) {
    rules.refuse("prlimit64", {has_bits(0, std::uint64_t{1} << bit), sets_new_limits});
  }
}

void refuse_device_nodes(Rules& rules) {
  for (const std::uint64_t type : {std::uint64_t{S_IFCHR}, std::uint64_t{S_IFBLK}}) {
    rules.refuse("mknod", {{1, SCMP_CMP_MASKED_EQ, S_IFMT, type}});
    rules.refuse("mknodat", {{2, SCMP_CMP_MASKED_EQ, S_IFMT, type}});
  }
}

void refuse_terminal_injection(Rules& rules) {
  for (const unsigned long request : {TIOCSTI, TIOCLINUX})
    rules.refuse("ioctl", {equals(1, request)});
}

void adapt(Rules& rules, FilterFor whom) {
  if (whom == FilterFor::agent) rules.refuse("chroot", {});
  if (whom != FilterFor::root_of_one_id) return;
  for (const char* call :
       {"chown", "fchown", "lchown", "fchownat", "setgroups", "setuid", "setgid", "setreuid",
        "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"}) {
    rules.refuse(call, {}, 0);
  }
}

}  // namespace

Result<FilterProgram> compile_filter(FilterFor whom, HoldsBackExec exec) {
  const std::unique_ptr<void, decltype(&::seccomp_release)> context(::seccomp_init(SCMP_ACT_ALLOW),
                                                                    &::seccomp_release);
  if (!context) return fail(Errc::unavailable, "seccomp_init failed");
  // Killing would break programs that merely probe.
  if (const int result =
          ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
      result != 0) {
    return Failure(errno_error(Errc::bug, "seccomp_attr_set", -result));
  }
  Rules rules(context.get());
  for (const char* name : refused) rules.refuse(name, {});
  refuse_families(rules);
  refuse_namespaces(rules);
  refuse_set_id_bits(rules, whom);
  refuse_limits_of_others(rules);
  refuse_device_nodes(rules);
  refuse_terminal_injection(rules);
  adapt(rules, whom);
  if (exec) {
    for (const char* call : {"execve", "execveat"}) rules.hold_back(call, {});
  }
  if (!rules.failure().empty()) return fail(Errc::bug, "seccomp " + rules.failure());
  return export_filter(context.get());
}

}  // namespace sluice::launcher
