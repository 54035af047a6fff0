#include <fmt/core.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "netns/commands/named.h"
#include "netns/commands/report.h"

namespace sluice::netns {
namespace {

constexpr int cannot_run_status = 126;
constexpr int not_found_status = 127;

Result<void> empty_bounding_set() {
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) return {};  // past the last one this kernel knows
    return fail_errno(Errc::not_permitted, fmt::format("PR_CAPBSET_DROP {}", capability));
  }
  return {};
}

// Root without capabilities: over no namespace, and none to be got back by a set-uid program.
Result<void> drop_privileges() {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return fail_errno(Errc::not_permitted, "PR_CAP_AMBIENT_CLEAR_ALL");
  }
  if (auto emptied = empty_bounding_set(); !emptied) return emptied;
  constexpr unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                                 SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (::prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0) {
    return fail_errno(Errc::not_permitted, "PR_SET_SECUREBITS");
  }
  const cap_t none = ::cap_init();
  const bool dropped = none != nullptr && ::cap_set_proc(none) == 0;
  ::cap_free(none);
  if (!dropped) return fail_errno(Errc::not_permitted, "capset");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return fail_errno(Errc::not_permitted, "PR_SET_NO_NEW_PRIVS");
  }
  return {};
}

Result<void> enter_named(const std::string& name) {
  const auto opened = open_state_as_root("exec").and_then(
      [&](const StateFolder& folder) { return open_named(folder, name); });
  if (!opened) return Failure(opened.error());
  // CAP_SYS_ADMIN: setns(2).
  if (::setns(opened->get(), CLONE_NEWNET) != 0) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot enter '{}'", name));
  }
  // Also what the caller left open: a socket of the machine's network would be a way out.
  if (::close_range(STDERR_FILENO + 1, ~0U, 0) != 0) return fail_errno(Errc::bug, "close_range");
  return drop_privileges();
}

}  // namespace

int run_exec(const std::string& name, const std::vector<std::string>& command) {
  if (auto entered = enter_named(name); !entered) return report(entered.error());
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  ::execvp(arguments.front(), arguments.data());
  const int status = errno == ENOENT ? not_found_status : cannot_run_status;
  report(errno_error(Errc::bad_config,
                     fmt::format("cannot run '{}'", text::printable(command.front())), errno));
  return status;
}

}  // namespace sluice::netns
