#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <memory>

#include "base/io.h"
#include "launcher/probes/areas.h"
#include "launcher/probes/attempt.h"
#include "launcher/sandbox/landlock.h"

namespace sluice::launcher::probes {
namespace {

constexpr auto before_exec = When::before_exec;
constexpr auto in_proof = When::in_proof;

constexpr std::size_t longest_stat = 4096;

std::string of_process(pid_t pid, const char* file) {
  return fmt::format("/proc/{}/{}", pid, file);
}

// -1 where /proc does not tell. Behind the last ')' come the state and the parent (proc_pid_stat).
pid_t parent_of(pid_t pid) {
  const auto stat = read_file(of_process(pid, "stat"), longest_stat);
  if (!stat) return -1;
  const std::size_t name_end = stat->rfind(')');
  constexpr std::size_t to_parent = 4;  // ") S "
  if (name_end == std::string::npos || stat->size() < name_end + to_parent) return -1;
  pid_t parent = -1;
  const char* const first = stat->data() + name_end + to_parent;
  std::from_chars(first, stat->data() + stat->size(), parent);
  return parent;
}

Answer supervisor_is_out_of_sight(const Bounds& bounds) {
  const pid_t parent = parent_of(bounds.agent);
  if (parent != bounds.init) return reached(fmt::format("its parent, process {}", parent));
  const pid_t above = parent_of(bounds.init);
  return above == 0 ? held() : reached(fmt::format("the parent of pid 1, process {}", above));
}

Answer own_namespaces_only(const Bounds& bounds) {
  const auto& outside = bounds.plan.outside.namespaces;
  if (outside.empty()) return reached("no answer of /proc/self/ns");
  for (const std::string& own : own_namespaces()) {
    if (std::find(outside.begin(), outside.end(), own) != outside.end()) {
      return reached("the machine's own " + own);
    }
  }
  return held();
}

Answer init_tells_nothing(const Bounds& bounds) {
  for (const char* link : {"root", "cwd", "exe", "fd/0", "ns/net"}) {
    const std::string path = of_process(bounds.init, link);
    char target[1];
    if (::readlink(path.c_str(), target, sizeof(target)) >= 0) return reached(path);
  }
  return cannot_open({of_process(bounds.init, "environ"), of_process(bounds.init, "maps"),
                      of_process(bounds.init, "mem"), of_process(bounds.init, "root/")},
                     O_RDONLY);
}

Answer init_cannot_be_traced(const Bounds& bounds) {
  const auto init = static_cast<unsigned long>(bounds.init);
  return refused({"ptrace(PTRACE_SEIZE)", SYS_ptrace, {PTRACE_SEIZE, init, 0, 0}});
}

Answer init_cannot_be_read(const Bounds& bounds) {
  const auto init = static_cast<unsigned long>(bounds.init);
  char byte = 0;
  const iovec here{&byte, 1};
  const iovec there{nullptr, 1};
  const auto from = reinterpret_cast<unsigned long>(&there);
  const auto to = reinterpret_cast<unsigned long>(&here);
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, bounds.init, 0));
  Answer answer =
      refused({{"process_vm_readv(2)", SYS_process_vm_readv, {init, to, 1, from, 1, 0}},
               {"process_vm_writev(2)", SYS_process_vm_writev, {init, to, 1, from, 1, 0}}});
  if (handle < 0) return answer;
  if (answer.kind == Answer::Kind::held) {
    const auto pid = static_cast<unsigned long>(handle);
    answer = refused({"pidfd_getfd(2)", SYS_pidfd_getfd, {pid, 0, 0}});
  }
  ::close(handle);
  return answer;
}

Answer no_limits_of_others(const Bounds& bounds) {
  rlimit64 present{};
  if (::syscall(SYS_prlimit64, 0, RLIMIT_CORE, nullptr, &present) != 0) {
    return reached("no answer of prlimit(2)");
  }
  return refused({"prlimit(2) of pid 1",
                  SYS_prlimit64,
                  {static_cast<unsigned long>(bounds.init), RLIMIT_CORE,
                   reinterpret_cast<unsigned long>(&present), 0}});
}

// Pid 1 has the agent's id on the host and heeds no signal; Landlock refuses them all the same.
Answer init_cannot_be_signalled(const Bounds& bounds) {
  if (::kill(bounds.init, 0) != 0 && is_refusal(errno)) return held();
  if (landlock_rights(landlock_abi()).scopes == 0) {
    return not_applicable("this kernel's Landlock has no say in signals (Linux 6.12)");
  }
  return reached("pid 1");
}

Answer nobody_else_is_there(const Bounds& bounds) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), &::closedir);
  if (!directory) return reached("no answer of /proc");
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (read.ec != std::errc() || read.ptr != name.data() + name.size()) continue;
    if (pid == bounds.init || pid == bounds.agent || pid == ::getpid()) continue;
    return reached(fmt::format("process {}", pid));
  }
  return held();
}

// A directory leads to every path above it, whatever is mounted (openat(2)).
Answer standard_descriptors_are_no_directories() {
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
    struct stat status {};
    if (::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
      return reached(fmt::format("descriptor {}, a directory", fd));
    }
  }
  return held();
}

Answer no_descriptors(const Bounds& bounds) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), &::closedir);
  if (!directory) return reached("no answer of /proc/self/fd");
  while (const dirent* entry = ::readdir(directory.get())) {
    const int fd = entry->d_name[0] == '.' ? 0 : std::atoi(entry->d_name);
    if (fd <= STDERR_FILENO || fd == ::dirfd(directory.get())) continue;
    const int flags = ::fcntl(fd, F_GETFD);
    if (fd == bounds.report && (flags & FD_CLOEXEC) != 0) continue;
    return reached(fmt::format("descriptor {}", fd));
  }
  return standard_descriptors_are_no_directories();
}

constexpr Probe probes[] = {
    {"supervisor", "looks for the process that made the sandbox", before_exec,
     supervisor_is_out_of_sight},
    {"namespaces", "compares its namespaces with the machine's", before_exec, own_namespaces_only},
    {"files of pid 1", "reads the environment, memory and root of pid 1", before_exec,
     init_tells_nothing},
    {"tracing pid 1", "attaches to pid 1 as a debugger does", before_exec, init_cannot_be_traced},
    {"memory of pid 1", "reads, writes and borrows from pid 1", before_exec, init_cannot_be_read},
    {"limits of others", "sets limits of pid 1", before_exec, no_limits_of_others},
    {"signals", "sends a signal to pid 1", before_exec, init_cannot_be_signalled},
    {"descriptors", "looks for descriptors that were left open", before_exec, no_descriptors},
    {"other processes", "looks for processes that are not its own", in_proof, nobody_else_is_there},
};

}  // namespace

std::span<const Probe> process_probes() { return probes; }

}  // namespace sluice::launcher::probes
