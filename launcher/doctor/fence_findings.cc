#include "launcher/doctor/fence_findings.h"

#include <fmt/core.h>

#include <cerrno>

#include "base/error.h"
#include "launcher/sandbox/landlock.h"

namespace sluice::launcher::doctor {
namespace {

constexpr int tcp_abi = 4;
constexpr int scope_abi = 6;

std::string errno_text(int error_number) {
  return errno_error(Errc::unavailable, "it is", error_number).what.substr(7);
}

// Neither of them stops a run (landlock(7)).
bool is_absent(int landlock_error) {
  return landlock_error == ENOSYS || landlock_error == EOPNOTSUPP;
}

Finding judge_no_landlock(int error_number) {
  const std::string why = errno_text(error_number);
  if (!is_absent(error_number)) {
    return {
        "Landlock", State::missing,
        fmt::format("it cannot be found out whether Landlock fences an agent's files ({})", why),
        no_filter_around, Required::yes};
  }
  return {
      "Landlock", State::limited,
      fmt::format("no second fence around an agent's files ({}); 'sluice run' works without", why),
      error_number == EOPNOTSUPP
          ? "boot with landlock among lsm= (its other names: cat /sys/kernel/security/lsm)"
          : "boot Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK"};
}

}  // namespace

Finding judge_seccomp(const Facts& facts) {
  Finding finding{"seccomp",
                  State::ok,
                  "the system calls that agents never need can be refused",
                  {},
                  Required::yes};
  if (facts.seccomp_error == 0) return finding;
  finding.state = State::missing;
  finding.means = fmt::format("an agent's system calls cannot be filtered ({})",
                              errno_text(facts.seccomp_error));
  finding.mend =
      facts.seccomp_error == EPERM ? no_filter_around : "boot a kernel with CONFIG_SECCOMP_FILTER";
  return finding;
}

Finding judge_exec_notices(const Facts& facts) {
  if (facts.notify_error == 0) {
    return {"seccomp notices", State::ok, "a supervisor can be told of what an agent executes", {}};
  }
  return {
      "seccomp notices", State::limited,
      fmt::format("nobody can be told of what an agent executes ({}); 'sluice run' works without",
                  errno_text(facts.notify_error)),
      facts.notify_error == EPERM ? no_filter_around
                                  : "boot Linux 5.0 or newer with CONFIG_SECCOMP_FILTER"};
}

Finding judge_landlock(const Facts& facts) {
  if (facts.landlock_abi == 0) return judge_no_landlock(facts.landlock_error);
  Finding finding{"Landlock", State::limited, {}, {}};
  if (facts.landlock_abi < first_useful_landlock) {
    finding.means = fmt::format(
        "ABI {} would refuse every rename between directories, and is not used; 'sluice run' works "
        "without",
        facts.landlock_abi);
    finding.mend = "boot Linux 5.19 or newer";
  } else if (facts.landlock_abi < tcp_abi) {
    finding.means = fmt::format(
        "ABI {} fences files; TCP ports (ABI 4), abstract sockets and signals (ABI 6) it cannot",
        facts.landlock_abi);
    finding.mend = "boot Linux 6.12 or newer";
  } else if (facts.landlock_abi < scope_abi) {
    finding.means = fmt::format(
        "ABI {} fences files and TCP ports; abstract sockets and signals (ABI 6) it cannot",
        facts.landlock_abi);
    finding.mend = "boot Linux 6.12 or newer";
  } else {
    finding.state = State::ok;
    finding.means = fmt::format("ABI {} can fence files, TCP ports, abstract sockets and signals",
                                facts.landlock_abi);
  }
  return finding;
}

Finding judge_vsock(const Facts& facts) {
  if (facts.vsock_error != 0)
    return {"vsock", State::ok, "no vsock sockets here: nothing to close", {}};
  return {"vsock",
          State::ok,
          "vsock sockets, which lead to the hypervisor past every network namespace, work here: "
          "agents are refused them by the seccomp filter",
          {}};
}

}  // namespace sluice::launcher::doctor
