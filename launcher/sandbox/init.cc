#include "launcher/sandbox/init.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "launcher/control.h"
#include "launcher/sandbox/full_mounts.h"

namespace sluice::launcher {
namespace {

ControlMessage plain(ControlMessage::Kind kind, int number) {
  ControlMessage message;
  message.kind = kind;
  message.number = number;
  return message;
}

Result<Fd> watch_children() {
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  if (::sigprocmask(SIG_SETMASK, &child, nullptr) != 0) return fail_errno(Errc::bug, "sigprocmask");
  Fd signals(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return fail_errno(Errc::unavailable, "signalfd");
  return signals;
}

// __WALL: a thread of the agent's that called PTRACE_TRACEME is a child of the other kind, and
// waiting for the agent's pid alone would hang on it. Answers the agent's status once it has ended.
std::optional<int> reap(pid_t agent) {
  std::optional<int> ended;
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG | __WALL);
    if (pid <= 0) return ended;
    if (pid == agent && (WIFEXITED(status) || WIFSIGNALED(status))) ended = exit_status(status);
  }
}

void kill_everybody() {
  ::kill(-1, SIGKILL);
  while (::waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {
  }
}

void pass_on(pid_t agent, int number) {
  // Its process group, of which it is the leader since setsid; a shell's jobs have groups of their
  // own.
  if (::kill(-agent, number) != 0) ::kill(agent, number);
}

// Answers the agent's status, or nothing when the supervisor is gone.
std::optional<int> watch(StartedAgent& started, int control, int signals) {
  const pid_t agent = started.pid;
  for (;;) {
    std::array<pollfd, 3> waiting{
        {{control, POLLIN, 0}, {signals, POLLIN, 0}, {started.held.fd(), POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0) {
      if (errno != EINTR) return std::nullopt;
      continue;
    }
    if (waiting[1].revents != 0) {
      signalfd_siginfo ignored{};
      while (::read(signals, &ignored, sizeof(ignored)) > 0) {
      }
      if (const auto status = reap(agent)) return status;
    }
    started.held.answer_next(waiting[2].revents);
    if (waiting[0].revents == 0) continue;
    const auto message = receive_control(control);
    if (!message) return std::nullopt;
    if (*message && (*message)->kind == ControlMessage::Kind::signal) {
      pass_on(agent, (*message)->number);
    }
  }
}

}  // namespace

int exit_status(int wait_status) noexcept {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int run_init(const AgentStart& start, Fd control) {
  const auto signals = watch_children();
  if (!signals) {
    (void)send_control(control.get(), failure_message(125, signals.error()));
    return 125;
  }
  auto agent = start_agent(start, control.get());
  if (!agent) {
    (void)send_control(control.get(), failure_message(agent.error().status, agent.error().error));
    return agent.error().status;
  }
  // The agent's ends alone decide when a pipe or terminal of its has ended.
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, start.terminal}) {
    if (standard >= 0) ::close(standard);
  }
  (void)send_control(control.get(), plain(ControlMessage::Kind::started, 0));
  const auto status = watch(*agent, control.get(), signals->get());
  ControlMessage ended = plain(ControlMessage::Kind::ended, status.value_or(0));
  if (status && !start.plan.proves) ended.sentence = tell_full(start.plan);
  kill_everybody();
  if (!status) return 125;
  (void)send_control(control.get(), ended);
  return 0;
}

}  // namespace sluice::launcher
