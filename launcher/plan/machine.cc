#include "launcher/plan/machine.h"

#include <fmt/core.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "base/io.h"
#include "launcher/paths.h"
#include "launcher/plan/secrets.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_socket_table = std::size_t{16} * 1024 * 1024;
constexpr std::size_t largest_mount_table = std::size_t{64} * 1024 * 1024;
constexpr std::size_t largest_accounts =
    std::size_t{512} * 1024;  // its like must fit where own files lie

std::string parent(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Where a socket really lies: /var/run/x is /run/x. The socket itself need not exist any more.
std::string real_location(const std::string& path) {
  const auto directory = real_path(parent(path));
  if (!directory) return path;
  return absolute(*directory + "/" + std::filesystem::path(path).filename().string());
}

// One table a network namespace: connect(2) to a path asks nobody in which one the socket was
// bound. /proc/PID/net/unix has the same inode for every process of a namespace. Processes end
// meanwhile; a table that cannot be read any more has no process of ours to protect.
std::vector<std::string> socket_tables() {
  std::vector<std::string> tables{"/proc/net/unix"};
  std::set<ino_t> seen;
  struct stat status {};
  if (::stat("/proc/self/net/unix", &status) == 0) seen.insert(status.st_ino);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string table = entry.path().string() + "/net/unix";
    if (::stat(table.c_str(), &status) == 0 && seen.insert(status.st_ino).second) {
      tables.push_back(table);
    }
  }
  return tables;
}

Result<std::vector<std::string>> survey_sockets() {
  std::vector<std::string> sockets;
  for (const std::string& name : socket_tables()) {
    const auto table = read_file(name, largest_socket_table);
    if (!table && name == "/proc/net/unix") return Failure(table.error());
    if (!table) continue;
    for (const std::string& path : socket_paths(*table)) sockets.push_back(real_location(path));
  }
  // Engines' sockets, whoever may read the tables of their namespaces.
  for (const char* path : {"/run/docker.sock", "/run/podman/podman.sock", "/run/crio/crio.sock",
                           "/run/containerd/containerd.sock"}) {
    sockets.emplace_back(path);
  }
  std::sort(sockets.begin(), sockets.end());
  sockets.erase(std::unique(sockets.begin(), sockets.end()), sockets.end());
  return sockets;
}

// "" unless it is a directory other than the root.
std::string real_home(const std::string& named) {
  if (!named.starts_with('/') || !is_directory(named)) return {};
  const auto real = real_path(named);
  return real && *real != "/" ? *real : std::string();
}

// Without $HOME (cron, services) it is passwd(5)'s, so that what is hidden there stays hidden.
std::string survey_home(const Machine& machine) {
  std::string home = real_home(machine.variable("HOME"));
  if (home.empty()) home = machine.known_home;
  return home.empty() ? "/home/agent" : home;
}

std::string survey_runtime_directory(const Machine& machine) {
  if (machine.is_root()) return "/run/sluice/agents";
  const std::string named = machine.variable("XDG_RUNTIME_DIR");
  if (named.starts_with('/')) return absolute(named) + "/sluice/agents";
  return fmt::format("/tmp/sluice-{}/agents", machine.uid);
}

}  // namespace

std::string Machine::variable(std::string_view name) const {
  for (const std::string& entry : environment) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return entry.substr(name.size() + 1);
    }
  }
  return {};
}

std::vector<std::string> socket_paths(std::string_view proc_net_unix) {
  std::vector<std::string> paths;
  while (!proc_net_unix.empty()) {
    const std::string_view line = proc_net_unix.substr(0, proc_net_unix.find('\n'));
    proc_net_unix.remove_prefix(std::min(line.size() + 1, proc_net_unix.size()));
    // No other column holds a slash, and an abstract name begins with '@'.
    const std::size_t slash = line.find(" /");
    if (slash == std::string_view::npos || line.find('@') < slash) continue;
    paths.emplace_back(line.substr(slash + 1));
  }
  return paths;
}

Result<Machine> survey_person() {
  Machine machine;
  machine.uid = ::getuid();
  machine.gid = ::getgid();
  if (::geteuid() != machine.uid || ::getegid() != machine.gid) {
    return fail(Errc::not_permitted, "sluice runs with another user's rights",
                "remove its setuid and setgid bits: it needs none");
  }
  // For everything that sluice itself makes; the agent gets the person's.
  machine.umask = ::umask(022);
  for (char** entry = environ; *entry != nullptr; ++entry) machine.environment.emplace_back(*entry);
  const passwd* const known = ::getpwuid(machine.uid);
  machine.user = known != nullptr ? known->pw_name : "user";
  machine.known_home = known != nullptr ? real_home(known->pw_dir) : std::string();
  machine.home = survey_home(machine);
  machine.linked_secrets = linked_secrets_below(machine.home);
  if (!machine.known_home.empty() && machine.known_home != machine.home) {
    for (std::string& path : linked_secrets_below(machine.known_home))
      machine.linked_secrets.push_back(std::move(path));
  }
  machine.runtime_directory = survey_runtime_directory(machine);
  return machine;
}

Result<Machine> survey_machine() {
  auto person = survey_person();
  if (!person) return person;
  Machine machine = std::move(*person);
  const auto program = real_path("/proc/self/exe");
  if (!program) return Failure(program.error());
  machine.program_directory = parent(*program);
  const auto mounts = read_file("/proc/self/mountinfo", largest_mount_table);
  if (!mounts) return Failure(mounts.error());
  machine.mounts = parse_mountinfo(*mounts);
  auto sockets = survey_sockets();
  if (!sockets) return Failure(sockets.error());
  machine.sockets = std::move(*sockets);
  machine.users = account_names(read_file("/etc/passwd", largest_accounts).value_or(""));
  machine.groups = account_names(read_file("/etc/group", largest_accounts).value_or(""));
  return machine;
}

std::vector<std::string> account_names(std::string_view table) {
  std::vector<std::string> names;
  while (!table.empty()) {
    const std::string_view line = table.substr(0, table.find('\n'));
    table.remove_prefix(std::min(line.size() + 1, table.size()));
    const std::size_t colon = line.find(':');
    if (colon == 0 || colon == line.npos || line.front() == '+' || line.front() == '-') continue;
    names.emplace_back(line.substr(0, colon));
  }
  return names;
}

}  // namespace sluice::launcher
