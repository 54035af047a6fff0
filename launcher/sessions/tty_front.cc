#include "launcher/sessions/tty_front.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/pipe.h"
#include "launcher/sandbox/init.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/terminal.h"

namespace sluice::launcher {
namespace {

constexpr int failed_status = 125;
constexpr std::size_t most_waiting = 65536;  // bytes
constexpr char end_of_input = 4;             // Ctrl-D (termios(3), VEOF)

// For signal handlers.
std::atomic<pid_t> child{0};
std::atomic<int> master_of_child{-1};
std::atomic<int> window{-1};  // a terminal of the caller's
std::atomic<bool> was_told_to_end{false};
termios callers_mode{};
std::atomic<bool> has_changed_mode{false};

void restore_mode() {
  if (has_changed_mode.exchange(false)) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &callers_mode);
}

void copy_size() {
  winsize size{};
  if (window < 0 || ::ioctl(window, TIOCGWINSZ, &size) != 0) return;
  ::ioctl(master_of_child, TIOCSWINSZ, &size);
}

// Whoever says it twice does not want to wait for who reads what is left.
void pass_on(int number) {
  const int before = errno;
  const bool ends = number == SIGTERM || number == SIGHUP;
  if (ends && was_told_to_end.exchange(true)) {
    restore_mode();
    ::_exit(128 + number);
  }
  ::kill(child, number);
  errno = before;
}

void on_resize(int) {
  const int before = errno;
  copy_size();
  errno = before;
}

void handle(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(number, &action, nullptr);
}

struct Ends {
  std::array<Fd, 3> runs{};  // what becomes its descriptors 0-2, where they change
  Fd output;                 // what it says there is read here, for descriptor 1
  Fd errors;                 // for descriptor 2, where that is another terminal
  Fd master;                 // of its terminal
};

Result<Fd> copy_of(const Fd& fd) {
  Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!copy) return fail_errno(Errc::unavailable, "cannot copy a descriptor");
  return copy;
}

Result<Fd> take_apart(Fd& read_end) {
  auto pipe = make_pipe();
  if (!pipe) return Failure(pipe.error());
  read_end = std::move(pipe->read_end);
  return std::move(pipe->write_end);
}

Result<Ends> without_terminal() {
  Ends ends;
  if (::isatty(STDIN_FILENO) == 1) {
    ends.runs[0].reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!ends.runs[0]) return fail_errno(Errc::unavailable, "cannot open '/dev/null'");
  }
  if (::isatty(STDOUT_FILENO) == 1) {
    auto end = take_apart(ends.output);
    if (!end) return Failure(end.error());
    ends.runs[1] = std::move(*end);
  }
  if (::isatty(STDERR_FILENO) != 1) return ends;
  const bool is_same = ends.runs[1] && is_same_terminal(STDOUT_FILENO, STDERR_FILENO);
  auto end = is_same ? copy_of(ends.runs[1]) : take_apart(ends.errors);
  if (!end) return Failure(end.error());
  ends.runs[2] = std::move(*end);
  return ends;
}

Result<Ends> with_terminal() {
  Ends ends;
  ends.master.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!ends.master || ::unlockpt(ends.master.get()) != 0) {
    return fail_errno(Errc::unavailable, "cannot make a terminal",
                      "is there a /dev/ptmx for this user?");
  }
  ends.runs[0].reset(::ioctl(ends.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios mode{};
  if (!ends.runs[0] || ::tcgetattr(ends.runs[0].get(), &mode) != 0) {
    return fail_errno(Errc::unavailable, "cannot open the terminal");
  }
  // Nobody types here: what comes is for the agent's own terminal, which begins behind it.
  ::cfmakeraw(&mode);
  ::tcsetattr(ends.runs[0].get(), TCSANOW, &mode);
  for (const int standard : {STDERR_FILENO, STDOUT_FILENO, STDIN_FILENO}) {
    if (::isatty(standard) == 1) window = standard;
  }
  master_of_child = ends.master.get();
  winsize usual{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(ends.master.get(), TIOCSWINSZ, &usual);
  copy_size();
  for (std::size_t i = 1; i < ends.runs.size(); ++i) {
    auto copy = copy_of(ends.runs[0]);
    if (!copy) return Failure(copy.error());
    ends.runs[i] = std::move(*copy);
  }
  return ends;
}

[[noreturn]] void be_run(pid_t front, Ends ends, const std::function<int(pid_t)>& run) {
  if (!die_with_parent() || ::getppid() != front || ::setsid() < 0) ::_exit(failed_status);
  for (std::size_t i = 0; i < ends.runs.size(); ++i) {
    if (ends.runs[i] && ::dup2(ends.runs[i].get(), static_cast<int>(i)) < 0) {
      ::_exit(failed_status);
    }
  }
  if (ends.master && ::ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) ::_exit(failed_status);
  ends = Ends();
  const int status = run(front);
  std::fflush(nullptr);
  ::_exit(status);
}

// False at its end.
bool carry(const Fd& from, int to) {
  std::array<char, 65536> chunk;
  const ssize_t size = ::read(from.get(), chunk.data(), chunk.size());
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  return size > 0 &&
         write_all(to, "a terminal", {chunk.data(), static_cast<std::size_t>(size)}).has_value();
}

void carry_pipes(Ends& ends) {
  while (ends.output || ends.errors) {
    pollfd waits[] = {{ends.output.get(), POLLIN, 0}, {ends.errors.get(), POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0) continue;
    if (waits[0].revents != 0 && !carry(ends.output, STDOUT_FILENO)) ends.output.reset();
    if (waits[1].revents != 0 && !carry(ends.errors, STDERR_FILENO)) ends.errors.reset();
  }
}

// The caller's standard input on its way into the terminal.
class Input {
 public:
  short wanted() const noexcept { return waiting_.empty() ? 0 : POLLOUT; }
  bool wants_more() const noexcept { return !is_over_ && waiting_.size() < most_waiting; }

  void read() {
    std::array<char, 4096> chunk;
    const ssize_t size = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    is_over_ = size <= 0;
    if (is_over_) {
      waiting_ += end_of_input;
    } else {
      waiting_.append(chunk.data(), static_cast<std::size_t>(size));
    }
  }

  void write(const Fd& master) {
    const ssize_t size = ::write(master.get(), waiting_.data(), waiting_.size());
    if (size > 0) waiting_.erase(0, static_cast<std::size_t>(size));
  }

 private:
  std::string waiting_;
  bool is_over_ = false;
};

void carry_terminal(Ends& ends) {
  Input input;
  while (ends.master) {
    pollfd waits[] = {{ends.master.get(), static_cast<short>(POLLIN | input.wanted()), 0},
                      {input.wants_more() ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0) continue;
    if (waits[1].revents != 0) input.read();
    if ((waits[0].revents & POLLOUT) != 0) input.write(ends.master);
    const bool is_heard = (waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    if (is_heard && !carry(ends.master, STDOUT_FILENO)) ends.master.reset();
  }
}

void take_over_mode() {
  const bool is_ours = ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
  if (!is_ours || ::tcgetattr(STDIN_FILENO, &callers_mode) != 0) return;
  termios raw = callers_mode;
  ::cfmakeraw(&raw);
  has_changed_mode = true;
  if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) has_changed_mode = false;
}

int stand_before(Ends ends) {
  for (Fd& fd : ends.runs) fd.reset();
  for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) handle(number, pass_on);
  handle(SIGPIPE, SIG_IGN);
  if (ends.master) {
    handle(SIGWINCH, on_resize);
    take_over_mode();
    carry_terminal(ends);
  } else {
    carry_pipes(ends);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) break;
  }
  restore_mode();
  return exit_status(status);
}

bool changes_anything(Tty tty) {
  if (tty == Tty::as_caller) return false;
  const auto is_as_it_should = [tty](int standard) {
    return (::isatty(standard) == 1) == (tty == Tty::yes);
  };
  return !(is_as_it_should(STDIN_FILENO) && is_as_it_should(STDOUT_FILENO) &&
           is_as_it_should(STDERR_FILENO));
}

}  // namespace

int run_behind(Tty tty, const std::function<int(pid_t)>& run) {
  if (!changes_anything(tty)) return run(0);
  auto ends = tty == Tty::yes ? with_terminal() : without_terminal();
  if (!ends) {
    fmt::print(stderr, "sluice: {}\n", to_string(ends.error()));
    return failed_status;
  }
  const pid_t front = ::getpid();
  // Until there is somebody to pass it on to.
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  child = ::fork();
  if (child == 0) {
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    be_run(front, std::move(*ends), run);
  }
  for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) handle(number, pass_on);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) {
    fmt::print(stderr, "sluice: error: fork: out of processes\nhint: look at ulimit -u\n");
    return failed_status;
  }
  return stand_before(std::move(*ends));
}

}  // namespace sluice::launcher
