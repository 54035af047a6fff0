#include "launcher/cgroup/scope.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <random>

#include "base/bounded_child.h"
#include "base/io.h"
#include "base/text.h"

namespace sluice::launcher::cgroup {
namespace {

constexpr const char* busctl = "/usr/bin/busctl";  // comes with systemd
constexpr std::chrono::seconds patience{10};
constexpr int moving_ms = 5000;
constexpr std::size_t largest_file = std::size_t{1024} * 1024;

bool is_root() { return ::geteuid() == 0; }

bool is_there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// The user's own bus, as busctl finds it (sd_bus_default_user(3)).
bool has_user_bus() {
  if (std::getenv("DBUS_SESSION_BUS_ADDRESS") != nullptr) return true;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr && is_there(std::string(runtime) + "/bus");
}

std::string own_v2(const std::vector<Hierarchy>& hierarchies) {
  for (const Hierarchy& hierarchy : hierarchies) {
    if (hierarchy.version == Version::v2) return hierarchy.own;
  }
  return {};
}

// org.freedesktop.systemd1(5)
std::vector<std::string> call_of(const std::string& scope, pid_t pid) {
  return {busctl,
          is_root() ? "--system" : "--user",
          "--timeout=5",
          "--allow-interactive-authorization=no",
          "call",
          "org.freedesktop.systemd1",
          "/org/freedesktop/systemd1",
          "org.freedesktop.systemd1.Manager",
          "StartTransientUnit",
          "ssa(sv)a(sa(sv))",
          scope,
          "fail",
          "4",
          "PIDs",
          "au",
          "1",
          fmt::format("{}", pid),
          "Delegate",
          "b",
          "true",
          "CollectMode",
          "s",
          "inactive-or-failed",
          "Description",
          "s",
          "an agent of sluice",
          "0"};
}

[[noreturn]] void become(std::vector<std::string> words, int output) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  if (::dup2(output, STDOUT_FILENO) >= 0 && ::dup2(output, STDERR_FILENO) >= 0) {
    ::execv(arguments.front(), arguments.data());
  }
  ::_exit(127);
}

// "" when it worked, else what it said.
std::string run(const std::vector<std::string>& words) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return "no process";
  if (pid == 0) become(words, write_end.get());
  write_end.reset();
  const std::string said = read_fd(read_end.get(), busctl, largest_file).value_or("");
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const std::string line = said.substr(0, said.find('\n'));
  return line.empty() ? fmt::format("{} failed", busctl) : text::printable(line);
}

// The job is done some time after the answer.
bool wait_until_in(const std::string& scope) {
  for (int waited = 0; waited < moving_ms; waited += 5) {
    const auto groups = read_file("/proc/self/cgroup", largest_file);
    if (groups && groups->find("/" + scope + "\n") != std::string::npos) return true;
    ::poll(nullptr, 0, 5);
  }
  return false;
}

// "" once the calling process is in a scope of its own.
std::string enter_scope() {
  const std::string scope =
      fmt::format("sluice-{}-{:08x}.scope", ::getpid(), std::random_device{}());
  const auto call = call_of(scope, ::getpid());
  const auto told =
      in_bounded_child(patience, [&](const Tell& tell) { tell("said " + run(call)); });
  if (!told) return told.error().what;
  if (!told->is_finished || !told->text.starts_with("said ")) return "it does not answer";
  std::string said = told->text.substr(5, told->text.find('\n') - 5);
  if (!said.empty()) return said;
  return wait_until_in(scope) ? "" : "it did not move sluice there";
}

bool lacks(const Place& place, const Limits& asked) {
  return (asked.memory && place.of(Controller::memory) == nullptr) ||
         (asked.pids && place.of(Controller::pids) == nullptr) ||
         (asked.cpus && place.of(Controller::cpu) == nullptr) ||
         (asked.io_weight && place.of(Controller::io) == nullptr);
}

}  // namespace

std::string outer_limit(const std::string& group) {
  constexpr std::array<const char*, 4> files{"memory.max", "memory.high", "memory.swap.max",
                                             "cpu.max"};
  // The root of the hierarchy has no cgroup.type and no limits.
  for (std::string at = group; is_there(at + "/cgroup.type"); at.resize(at.rfind('/'))) {
    for (const char* file : files) {
      const std::string path = fmt::format("{}/{}", at, file);
      if (is_there(path) && !read_file(path, largest_file).value_or("").starts_with("max"))
        return path;
    }
  }
  return {};
}

std::string why_no_scope(const std::vector<Hierarchy>& hierarchies) {
  const std::string own = own_v2(hierarchies);
  // sd_booted(3)
  if (own.empty() || !is_there("/run/systemd/system")) return "there is no systemd to ask";
  if (hierarchies.size() > 1) return "systemd delegates no control group of version 1";
  if (!is_there(busctl)) return fmt::format("there is no {} to ask systemd with", busctl);
  if (!is_root() && !has_user_bus()) return "this user has no bus to ask systemd on";
  const std::string limit = outer_limit(own);
  if (limit.empty()) return {};
  return fmt::format("a scope of its own would be free of '{}'", text::printable(limit));
}

Result<Place> find_or_ask_place(const Limits& asked) {
  auto hierarchies = own_hierarchies();
  if (!hierarchies) return Failure(hierarchies.error());
  Place place = find_place(*hierarchies, ::getpid());
  if (!lacks(place, asked)) return place;
  std::string why = why_no_scope(*hierarchies);
  if (why.empty()) {
    why = enter_scope();
    hierarchies = own_hierarchies();
    if (!hierarchies) return Failure(hierarchies.error());
    place = find_place(*hierarchies, ::getpid());
    if (!why.empty()) why = "systemd gave no scope: " + why;
  }
  if (why.empty()) return place;
  for (auto& [controller, reason] : place.lacking) reason += ", and " + why;
  return place;
}

}  // namespace sluice::launcher::cgroup
