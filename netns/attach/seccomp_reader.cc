#include "netns/attach/seccomp_reader.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace sluice::netns {
namespace {

// <linux/ptrace.h> and <sys/ptrace.h> cannot be included together.
constexpr auto get_filter = static_cast<__ptrace_request>(0x420c);  // PTRACE_SECCOMP_GET_FILTER
constexpr int event_stop = 128;                                     // PTRACE_EVENT_STOP

constexpr std::chrono::seconds stopping_time{10};
constexpr std::chrono::milliseconds stopping_pause{1};
// BPF_MAXINSNS, and as many filters as fit the kernel's limit of instructions for a thread.
constexpr std::size_t most_instructions = 4096;
constexpr unsigned long most_filters = 512;

class Stopped {
 public:
  explicit Stopped(pid_t thread) : thread_(thread) {}
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;
  // A signal that stopped it first is delivered now.
  ~Stopped() { ::ptrace(PTRACE_DETACH, thread_, nullptr, static_cast<long>(signal_)); }

  Result<void> stop();

 private:
  pid_t thread_;
  int signal_ = 0;
};

Failure cannot_read(pid_t thread, std::string_view what) {
  return fail_errno(Errc::not_permitted, fmt::format("cannot {} thread {}", what, thread));
}

Result<void> Stopped::stop() {
  if (::ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) != 0) {
    return cannot_read(thread_, "stop");
  }
  const auto until = std::chrono::steady_clock::now() + stopping_time;
  while (std::chrono::steady_clock::now() < until) {
    int status = 0;
    const pid_t waited = ::waitpid(thread_, &status, __WALL | WNOHANG);
    if (waited < 0 && errno != EINTR) return cannot_read(thread_, "wait for");
    if (waited == thread_ && WIFSTOPPED(status)) {
      if (status >> 16 != event_stop) signal_ = WSTOPSIG(status);
      return {};
    }
    if (waited == thread_) return fail(Errc::unavailable, "the thread has ended");
    std::this_thread::sleep_for(stopping_pause);
  }
  return fail(Errc::unavailable, fmt::format("thread {} does not stop", thread_));
}

Result<std::vector<SeccompProgram>> read_all(pid_t thread) {
  std::vector<SeccompProgram> programs;
  for (unsigned long i = 0; i < most_filters; ++i) {
    SeccompProgram program(most_instructions);
    const long size = ::ptrace(get_filter, thread, i, program.data());
    if (size < 0 && errno == ENOENT) return programs;
    if (size < 0 || static_cast<std::size_t>(size) > program.size()) {
      return cannot_read(thread, "read the seccomp filter of");
    }
    program.resize(static_cast<std::size_t>(size));
    programs.push_back(std::move(program));
  }
  return fail(Errc::unavailable, fmt::format("thread {} has too many seccomp filters", thread));
}

}  // namespace

Result<std::vector<SeccompProgram>> read_seccomp_filters(pid_t thread) {
  if (::ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) return cannot_read(thread, "trace");
  Stopped stopped(thread);
  return stopped.stop().and_then([&] { return read_all(thread); });
}

}  // namespace sluice::netns
