#include <fmt/core.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/capabilities.h"
#include "base/text.h"
#include "netns/commands/named.h"
#include "netns/commands/report.h"

namespace sluice::netns {
namespace {

constexpr int cannot_run_status = 126;
constexpr int not_found_status = 127;

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
  // Root without capabilities: over no namespace, and none to be got back by a set-uid program.
  return drop_capabilities().and_then(forbid_new_privileges);
}

}  // namespace

int run_exec(const std::string& name, const std::vector<std::string>& command) {
  if (auto entered = enter_named(name); !entered) return report(entered.error());
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
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
