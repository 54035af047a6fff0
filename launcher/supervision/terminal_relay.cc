#include "launcher/supervision/terminal_relay.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice::launcher {
namespace {

constexpr std::size_t most_waiting = 65536;
// More than a kernel's pty buffer holds, so that a still running writer cannot keep drain() busy.
constexpr int most_drains = 64;

}  // namespace

TerminalRelay::TerminalRelay(Fd master, ErofsWatch& heard, OwnLines& lines)
    : master_(std::move(master)), heard_(heard), lines_(lines) {
  ::fcntl(master_.get(), F_SETFL, O_NONBLOCK);
  termios attributes{};
  const bool is_foreground = ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
  if (!is_foreground || ::tcgetattr(STDIN_FILENO, &attributes) != 0) return;
  reads_person_ = true;
  termios raw = attributes;
  ::cfmakeraw(&raw);
  if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0) saved_ = attributes;
}

TerminalRelay::~TerminalRelay() {
  // From the background this would stop us: SIGTTOU.
  if (!saved_) return;
  ::signal(SIGTTOU, SIG_IGN);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &*saved_);
}

std::vector<pollfd> TerminalRelay::waits() const {
  if (!master_) return {};
  // While the person's terminal takes nothing, nothing is read for it: the agent waits then.
  const int wanted = (output_.is_waiting() ? 0 : POLLIN) | (to_agent_.empty() ? 0 : POLLOUT);
  std::vector<pollfd> waits;
  if (wanted != 0) waits.push_back({master_.get(), static_cast<short>(wanted), 0});
  if (output_.is_waiting()) waits.push_back({output_.fd(), POLLOUT, 0});
  if (reads_person_ && to_agent_.size() < most_waiting) waits.push_back({STDIN_FILENO, POLLIN, 0});
  return waits;
}

void TerminalRelay::handle(const std::vector<pollfd>& ready) {
  for (const pollfd& one : ready) {
    if (one.revents == 0) continue;
    if (one.fd == STDIN_FILENO) {
      read_person();
    } else if (one.fd == output_.fd()) {
      if (!output_.write_on()) master_.reset();
    } else {
      if ((one.revents & POLLOUT) != 0) write_agent();
      if ((one.revents & (POLLIN | POLLHUP | POLLERR)) != 0) hear_agent();
    }
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

void TerminalRelay::hear_agent() {
  if (output_.is_waiting()) {
    to_agent_.clear();  // POLLHUP: nobody there reads
  } else if (!read_agent()) {
    master_.reset();
  }
}

// False when every slave is closed (EIO), or the person's terminal.
bool TerminalRelay::read_agent() {
  std::array<char, 16384> chunk;
  const ssize_t size = ::read(master_.get(), chunk.data(), chunk.size());
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  const std::string_view said(chunk.data(), static_cast<std::size_t>(size));
  heard_.feed(said);
  return lines_.pass(said, [&](std::string_view piece) { return output_.write(piece); });
}

void TerminalRelay::resize() {
  winsize size{};
  if (master_ && ::ioctl(output_.terminal(), TIOCGWINSZ, &size) == 0) {
    ::ioctl(master_.get(), TIOCSWINSZ, &size);
  }
}

bool TerminalRelay::say(std::string_view ours) {
  if (!output_.is(STDERR_FILENO)) return false;
  if (output_.is_full()) {
    ++unsaid_;
  } else {
    output_.write(ours);
  }
  return true;
}

void TerminalRelay::drain() {
  for (int i = 0; i < most_drains && master_; ++i) {
    pollfd wait{master_.get(), POLLIN, 0};
    if (::poll(&wait, 1, 0) <= 0 || !read_agent()) break;
  }
  heard_.finish();
}

}  // namespace sluice::launcher
