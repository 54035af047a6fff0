#include "launcher/exec_log/attempt.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "base/error.h"
#include "launcher/exec_log/memory.h"

namespace sluice::launcher {
namespace {

// Where in the arguments of either call is what.
struct Call {
  int directory = AT_FDCWD;
  bool is_descriptor = false;  // the directory is the file to run
  std::uint64_t path = 0;
  std::uint64_t words = 0;
};

Call read_call(const Notification& notification) {
  const auto& arguments = notification.arguments;
  if (notification.call == SYS_execve) return {AT_FDCWD, false, arguments[0], arguments[1]};
  return {static_cast<int>(arguments[0]), (arguments[4] & AT_EMPTY_PATH) != 0, arguments[1],
          arguments[2]};
}

// The path as the agent's root has it; nothing where its directory has no name to look it up by, as
// one that lies too deep.
std::optional<std::string> resolve(pid_t thread, const Call& call, const std::string& path,
                                   const std::string& cwd) {
  if (path.starts_with('/')) return path;
  const std::string directory =
      call.directory == AT_FDCWD ? cwd : link_of(thread, fmt::format("fd/{}", call.directory));
  if (directory.empty()) return std::nullopt;
  return path.empty() ? directory : directory + "/" + path;
}

// Reads `program` and `argv`. False: the call will fail.
bool read_arguments(pid_t thread, const Call& call, Words& path, netns::SeenExec& seen) {
  const Memory memory(thread);
  auto name = memory.read_word(call.path, PATH_MAX);
  auto words = name ? memory.read_words(call.words) : name;
  if (!words) {
    // EFAULT says nothing of the kernel's own read: memfd_secret(2) is closed to everybody else.
    if (words.error() == ESRCH) return false;
    seen.error = errno_error(Errc::not_permitted, "cannot read its arguments", words.error()).what;
    return true;
  }
  path = std::move(*name);
  seen.argv = std::move(words->list);
  seen.argv_cut = words->cut;
  return !path.cut;
}

}  // namespace

bool is_exec(int call) { return call == SYS_execve || call == SYS_execveat; }

std::optional<netns::SeenExec> look_at(const Notification& notification, const AgentRoot& root,
                                       int process) {
  const pid_t thread = notification.thread;
  const Call call = read_call(notification);
  netns::SeenExec seen;
  Words path;
  if (!read_arguments(thread, call, path, seen)) return std::nullopt;
  seen.cwd = link_of(thread, "cwd");
  if (!path.list.empty()) {
    const std::string& name = path.list.front();
    const bool by_descriptor = name.empty() && call.is_descriptor;
    if (name.empty() && !call.is_descriptor) return std::nullopt;
    const std::optional<std::string> whole = resolve(thread, call, name, seen.cwd);
    const bool can_look = !by_descriptor && whole && root.is_of(thread);
    if (can_look && !root.has_program(*whole)) return std::nullopt;
    seen.program = (by_descriptor ? whole.value_or("") : name).substr(0, most_path_bytes);
  }
  const Kin kin = kin_of(thread, process);
  seen.pid = static_cast<std::uint64_t>(kin.process);
  seen.parent_pid = static_cast<std::uint64_t>(kin.parent);
  seen.parent = kin.parent_name;
  seen.cwd.resize(std::min(seen.cwd.size(), most_path_bytes));
  return seen;
}

}  // namespace sluice::launcher
