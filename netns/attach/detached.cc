// Attach supervisors in the background: started, and ended by their state files.
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/io.h"
#include "netns/attach/attach_supervisor.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

constexpr int polite_end_ms = 5000;
constexpr int killed_end_ms = 1000;
constexpr std::size_t longest_answer = std::size_t{64} * 1024;

// What its parent hears, once.
std::string encode(const Result<void>& started, const AttachSupervisor& supervisor) {
  const Json json = started ? Json{{"withdrawn", supervisor.withdrawn()}}
                            : Json{{"code", static_cast<int>(started.error().code)},
                                   {"what", started.error().what},
                                   {"hint", started.error().hint}};
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

bool leave_the_caller(int answer) {
  const auto rest = static_cast<unsigned>(answer);
  const bool alone =
      (rest <= STDERR_FILENO + 1 || ::close_range(STDERR_FILENO + 1, rest - 1, 0) == 0) &&
      ::close_range(rest + 1, ~0U, 0) == 0;
  // The caller may wait for the end of what it reads from us.
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::dup2(nothing.get(), fd) < 0) return false;
  }
  return alone && ::setsid() >= 0 && ::chdir("/") == 0;
}

[[noreturn]] void stay(const AttachOrder& order, Fd answer) {
  if (!leave_the_caller(answer.get())) ::_exit(125);
  AttachSupervisor supervisor(order, [](std::string_view) {});
  const auto started = supervisor.start();
  const auto told = write_all(answer.get(), "pipe", encode(started, supervisor));
  answer.reset();
  ::_exit(started && told ? supervisor.run() : 125);
}

Result<Detached> decode(const std::string& said, pid_t pid) {
  if (said.empty()) return fail(Errc::unavailable, "the supervisor has died");
  const Json json = Json::parse(said);
  if (json.contains("code")) {
    return Failure(Error{static_cast<Errc>(json.at("code").get<int>()), json.at("what"),
                         json.at("hint"), std::nullopt});
  }
  return Detached{pid, json.at("withdrawn")};
}

bool ends_within(int process, int milliseconds) {
  pollfd wait{process, POLLIN, 0};
  return ::poll(&wait, 1, milliseconds) > 0;
}

Result<void> end_process(const LeaseState& state) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, state.supervisor, 0)));
  // Asked after the pidfd: the number cannot become another's between.
  if (!process || start_time_of(state.supervisor) != state.supervisor_born) return {};
  const auto signal = [&](int number) {
    return ::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0);
  };
  if (signal(SIGTERM) != 0 && errno != ESRCH) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot end process {}", state.supervisor));
  }
  if (ends_within(process.get(), polite_end_ms)) return {};
  (void)signal(SIGKILL);
  if (ends_within(process.get(), killed_end_ms)) return {};
  return fail(Errc::unavailable, fmt::format("process {} does not end", state.supervisor));
}

}  // namespace

Result<Detached> attach_detached(const AttachOrder& order) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::unavailable, "pipe2");
  const Fd answer(ends[0]);
  Fd to_parent(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid == 0) stay(order, std::move(to_parent));
  to_parent.reset();
  auto detached = read_fd(answer.get(), "pipe", longest_answer).and_then([&](std::string&& said) {
    return decode(said, pid);
  });
  if (!detached) ::waitpid(pid, nullptr, 0);
  return detached;
}

Result<void> end_attached(const StateFolder& folder, LeaseState::Kind kind, std::string_view id) {
  const auto state = folder.read(kind, id);
  if (!state) return Failure(state.error());
  if (!*state) return {};
  // Without the lock: the supervisor takes it to remove its file.
  if (auto ended = end_process(**state); !ended) return ended;
  return folder.lock().and_then([&](const Fd&) { return folder.remove(kind, id); });
}

}  // namespace sluice::netns
