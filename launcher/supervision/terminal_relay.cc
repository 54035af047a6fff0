#include "launcher/supervision/terminal_relay.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/signals.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_waiting = 65536;
// What is on its way to the terminal comes before whatever follows on Ctrl-C. Bytes.
constexpr int most_ahead = 16384;
// More than a kernel's pty buffer holds, so that a still running writer cannot keep drain() busy.
constexpr int most_drains = 64;

int find_output() {
  for (const int standard : {STDOUT_FILENO, STDERR_FILENO, STDIN_FILENO}) {
    if (::isatty(standard) == 1) return standard;
  }
  return STDOUT_FILENO;
}

// In the carrier.
[[noreturn]] void carry(int source, int terminal) noexcept {
  std::array<char, 16384> chunk;
  for (;;) {
    const ssize_t size = ::read(source, chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) ::_exit(0);
    if (!pass_on(terminal, {chunk.data(), static_cast<std::size_t>(size)})) ::_exit(1);
  }
}

}  // namespace

TerminalRelay::TerminalRelay(Fd master, ErofsWatch& heard, OwnLines& lines)
    : master_(std::move(master)), heard_(heard), lines_(lines), output_(find_output()) {
  ::fcntl(master_.get(), F_SETFL, O_NONBLOCK);
  termios attributes{};
  const bool is_foreground = ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
  if (!is_foreground || ::tcgetattr(STDIN_FILENO, &attributes) != 0) return;
  reads_person_ = true;
  termios raw = attributes;
  ::cfmakeraw(&raw);
  if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0) saved_ = attributes;
}

Result<void> TerminalRelay::start() {
  auto carrier = start_carrier("sluice-terminal", SOCK_STREAM, {output_},
                               [&](Fd socket) { carry(socket.get(), output_); });
  if (!carrier) return Failure(carrier.error());
  carrier_ = std::move(*carrier);
  if (::setsockopt(carrier_.socket.get(), SOL_SOCKET, SO_SNDBUF, &most_ahead, sizeof most_ahead) !=
      0) {
    return fail_errno(Errc::unavailable, "SO_SNDBUF");
  }
  return {};
}

TerminalRelay::~TerminalRelay() {
  // From the background this would stop us: SIGTTOU.
  if (!saved_) return;
  ::signal(SIGTTOU, SIG_IGN);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &*saved_);
}

std::vector<pollfd> TerminalRelay::waits() const {
  std::vector<pollfd> waits;
  if (!to_person_.empty()) waits.push_back({carrier_.socket.get(), POLLOUT, 0});
  if (!master_) return waits;
  const int wanted = (to_person_.empty() ? POLLIN : 0) | (to_agent_.empty() ? 0 : POLLOUT);
  waits.push_back({master_.get(), static_cast<short>(wanted), 0});
  if (reads_person_ && to_agent_.size() < most_waiting) waits.push_back({STDIN_FILENO, POLLIN, 0});
  return waits;
}

void TerminalRelay::handle(const std::vector<pollfd>& ready) {
  for (const pollfd& one : ready) {
    if (one.revents == 0) continue;
    if (one.fd == STDIN_FILENO) {
      read_person();
      continue;
    }
    if (one.fd == carrier_.socket.get()) {
      if (!write_person()) master_.reset();
      continue;
    }
    if ((one.revents & POLLOUT) != 0) write_agent();
    if ((one.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !read_agent()) master_.reset();
  }
}

void TerminalRelay::read_person() {
  std::array<char, 4096> chunk;
  const ssize_t size = ::read(STDIN_FILENO, chunk.data(), chunk.size());
  if (size > 0) {
    to_agent_.append(chunk.data(), static_cast<std::size_t>(size));
    write_agent();
  } else if (size == 0 || errno != EINTR) {
    reads_person_ = false;
  }
}

void TerminalRelay::write_agent() {
  while (!to_agent_.empty()) {
    const ssize_t size = ::write(master_.get(), to_agent_.data(), to_agent_.size());
    if (size <= 0) return;
    to_agent_.erase(0, static_cast<std::size_t>(size));
  }
}

// False when every slave is closed: EIO.
bool TerminalRelay::read_agent() {
  std::array<char, 16384> chunk;
  const ssize_t size = ::read(master_.get(), chunk.data(), chunk.size());
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  const std::string_view said(chunk.data(), static_cast<std::size_t>(size));
  heard_.feed(said);
  return lines_.pass(said, [&](std::string_view piece) {
    to_person_ += piece;
    return write_person();
  });
}

// False when the terminal is gone.
bool TerminalRelay::write_person() {
  while (!to_person_.empty()) {
    const ssize_t size = ::send(carrier_.socket.get(), to_person_.data(), to_person_.size(),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size >= 0) {
      to_person_.erase(0, static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      to_person_.clear();
      return false;
    }
  }
  return true;
}

bool TerminalRelay::say(std::string_view line) {
  struct stat error {};
  struct stat person {};
  if (::fstat(STDERR_FILENO, &error) != 0 || ::fstat(output_, &person) != 0 ||
      !S_ISCHR(error.st_mode) || error.st_rdev != person.st_rdev) {
    return false;
  }
  if (to_person_.size() + line.size() > most_waiting) {
    ++unsaid_;
  } else {
    to_person_ += line;
    write_person();
  }
  return true;
}

void TerminalRelay::resize() {
  winsize size{};
  if (master_ && ::ioctl(output_, TIOCGWINSZ, &size) == 0) {
    ::ioctl(master_.get(), TIOCSWINSZ, &size);
  }
}

void TerminalRelay::drain() {
  for (int i = 0; i < most_drains && master_; ++i) {
    pollfd wait{master_.get(), POLLIN, 0};
    if (::poll(&wait, 1, 0) <= 0 || !read_agent()) break;
  }
  heard_.finish();
}

bool TerminalRelay::finish(int signals) {
  const bool is_taken = wait_for_person(signals);
  // While it waits there, nobody sets the terminal's modes. It was not reaped: its socket was open.
  if (!is_taken) ::kill(carrier_.pid, SIGKILL);
  ::waitpid(carrier_.pid, nullptr, 0);
  return is_taken;
}

bool TerminalRelay::wait_for_person(int signals) {
  for (;;) {
    if (to_person_.empty()) ::shutdown(carrier_.socket.get(), SHUT_WR);
    const int wanted = to_person_.empty() ? POLLIN : POLLOUT;
    pollfd waits[] = {{carrier_.socket.get(), static_cast<short>(wanted), 0}, {signals, POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0) continue;
    if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) return true;
    if (waits[1].revents != 0 && ends_programs(read_signals(signals))) return false;
    if (waits[0].revents != 0) write_person();
  }
}

}  // namespace sluice::launcher
