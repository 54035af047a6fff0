#include "launcher/sessions/detach.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.h"
#include "base/io.h"
#include "base/pipe.h"
#include "base/text.h"
#include "launcher/sandbox/init.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sessions/run_log.h"
#include "launcher/sessions/run_log_reader.h"

namespace sluice::launcher {
namespace {

constexpr int failed_status = 125;

int complain(const Error& error) {
  (void)write_all(STDERR_FILENO, "stderr", fmt::format("sluice: {}\n", to_string(error)));
  return failed_status;
}

Result<void> put_at(int fd, int standard) {
  if (::dup2(fd, standard) < 0) return fail_errno(Errc::bug, "dup2");
  return {};
}

Result<void> read_nothing_write_to(int output) {
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing) return fail_errno(Errc::unavailable, "cannot open '/dev/null'");
  const int out = output < 0 ? nothing.get() : output;
  return put_at(nothing.get(), STDIN_FILENO)
      .and_then([&] { return put_at(out, STDOUT_FILENO); })
      .and_then([&] { return put_at(out, STDERR_FILENO); });
}

// Until nobody has the other end: the agent, its sluiced and its supervisor have ended.
void copy_to_log(int output, RunLog& log) {
  std::array<char, 65536> chunk;
  for (;;) {
    const ssize_t size = ::read(output, chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    log.append({chunk.data(), static_cast<std::size_t>(size)});
  }
}

int await_child(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return failed_status;
  }
  return status;
}

void ignore_signals() {
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) ::signal(number, SIG_IGN);
}

void restore_signals() {
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) ::signal(number, SIG_DFL);
}

[[noreturn]] void be_run(pid_t keeper, Pipe output, const Detached& detached,
                         const DetachedRun& run) {
  restore_signals();
  // PR_SET_PDEATHSIG does not tell of a parent that died before it.
  if (!die_with_parent() || ::getppid() != keeper) ::_exit(failed_status);
  if (!read_nothing_write_to(output.write_end.get())) ::_exit(failed_status);
  output = {};
  ::_exit(run(detached));
}

// Ends last: SIGTERM is for the supervisor.
[[noreturn]] void keep_log(RunLog log, Fd started, pid_t caller, const DetachOrder& order,
                           const DetachedRun& run) {
  ignore_signals();
  auto output = make_pipe();
  if (!output || ::setsid() < 0) ::_exit(failed_status);
  const pid_t keeper = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) ::_exit(failed_status);
  if (pid == 0) {
    log = RunLog();
    be_run(keeper, std::move(*output), {started.get(), {keeper, caller}}, run);
  }
  order.let_go();
  started.reset();
  output->write_end.reset();
  if (!read_nothing_write_to(-1)) ::_exit(failed_status);
  copy_to_log(output->read_end.get(), log);
  const int status = await_child(pid);
  if (log.lost_bytes() > 0) {
    log.append(fmt::format("sluice: {} bytes could not be kept in this log\n", log.lost_bytes()));
  }
  using State = RunStatus::State;
  (void)log.end(WIFSIGNALED(status) ? State::killed : State::ended, exit_status(status));
  ::_exit(exit_status(status));
}

// The agent never ran: all of it is sluice's own.
void show_log(const DetachOrder& order) {
  auto reader = RunLogReader::open(order.state_directory, order.status.agent);
  while (reader) {
    const auto bytes = reader->read();
    if (!bytes || bytes->empty()) return;
    (void)write_all(STDERR_FILENO, "stderr", *bytes);
  }
}

}  // namespace

int detach(DetachOrder order, const DetachedRun& run) {
  remove_old_logs(order.state_directory, now_ms());
  auto log = RunLog::begin(order.state_directory, order.status);
  if (!log) return complain(log.error());
  auto started = make_pipe();
  if (!started) return complain(started.error());
  const pid_t caller = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return complain(errno_error(Errc::unavailable, "fork", errno));
  if (pid == 0) {
    started->read_end.reset();
    keep_log(std::move(*log), std::move(started->write_end), caller, order, run);
  }
  started->write_end.reset();
  *log = RunLog();
  char byte = 0;
  ssize_t size = 0;
  do {
    size = ::read(started->read_end.get(), &byte, 1);
  } while (size < 0 && errno == EINTR);
  if (size == 1) {
    fmt::print("{}\n", order.status.agent);
    return 0;
  }
  const int status = exit_status(await_child(pid));
  show_log(order);
  return status;
}

}  // namespace sluice::launcher
