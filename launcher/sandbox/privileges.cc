#include "launcher/sandbox/privileges.h"

#include <fmt/core.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/io.h"

namespace sluice::launcher {
namespace {

constexpr rlim_t most_descriptors = 65536;

Result<void> lower(decltype(RLIMIT_NOFILE) resource, const char* name, rlim_t most) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return fail_errno(Errc::bug, name);
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  if (::setrlimit(resource, &limit) != 0) return fail_errno(Errc::not_permitted, name);
  return {};
}

// core(5): a pipe is written to whatever the limit is, but for 1.
Result<void> limit_cores() {
  rlimit core{1, 1};
  if (::setrlimit(RLIMIT_CORE, &core) == 0) return {};
  const int number = errno;
  if (::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 && !cores_are_piped()) return {};
  return fail(
      Errc::not_permitted,
      fmt::format("the hard limit of core files is 0, and 0 does not keep the agent's from "
                  "the machine's core_pattern helper: {}",
                  std::strerror(number)),
      "let it be 1 ('hard core 1' in limits.conf(5)), or let core files be files: sysctl -w "
      "kernel.core_pattern=core");
}

}  // namespace

bool cores_are_piped() {
  const auto pattern = read_file("/proc/sys/kernel/core_pattern", 1024);
  return !pattern || pattern->starts_with('|');
}

void let_cores_be_limited() noexcept {
  rlimit core{};
  if (::getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0) return;
  core.rlim_max = 1;
  (void)::setrlimit(RLIMIT_CORE, &core);
}

Result<void> become_host_id(uid_t id) {
  const std::string what = fmt::format("cannot become the host id {}", id);
  const std::string hint = "this root may be a container's: run sluice there as an ordinary user";
  if (::setgroups(0, nullptr) != 0) return fail_errno(Errc::not_permitted, what, hint);
  if (::setresgid(id, id, id) != 0) return fail_errno(Errc::not_permitted, what, hint);
  if (::setresuid(id, id, id) != 0) return fail_errno(Errc::not_permitted, what, hint);
  return {};
}

Result<void> join_new_keyring() {
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) >= 0) return {};
  if (errno == ENOSYS) return {};  // a kernel without keys
  return fail_errno(Errc::not_permitted, "cannot leave the session keyring",
                    errno == EDQUOT
                        ? "too many keys of this user: sysctl -w kernel.keys.maxkeys=2000"
                        : "in a container: start it with --security-opt "
                          "seccomp=unconfined");
}

Result<void> die_with_parent() {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return fail_errno(Errc::bug, "PR_SET_PDEATHSIG");
  return {};
}

Result<void> limit_resources(const cgroup::ProcessLimits& limits) {
  if (auto done = limit_cores(); !done) return done;
  if (auto done = lower(RLIMIT_NOFILE, "RLIMIT_NOFILE", most_descriptors); !done) return done;
  if (limits.processes) {
    if (auto done = lower(RLIMIT_NPROC, "RLIMIT_NPROC", *limits.processes); !done) return done;
  }
  return limits.data ? lower(RLIMIT_DATA, "RLIMIT_DATA", *limits.data) : Result<void>{};
}

Result<void> close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  int first = STDERR_FILENO + 1;
  for (const int fd : kept) {
    if (fd < first) continue;
    if (fd > first &&
        ::close_range(static_cast<unsigned>(first), static_cast<unsigned>(fd - 1), 0) != 0) {
      return fail_errno(Errc::bug, "close_range");
    }
    first = fd + 1;
  }
  if (::close_range(static_cast<unsigned>(first), ~0U, 0) != 0) {
    return fail_errno(Errc::bug, "close_range");
  }
  return {};
}

}  // namespace sluice::launcher
