#include "launcher/supervision/terminal_output.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/signals.h"

namespace sluice::launcher {
namespace {

int find_terminal() {
  for (const int standard : {STDOUT_FILENO, STDERR_FILENO, STDIN_FILENO}) {
    if (::isatty(standard) == 1) return standard;
  }
  return STDOUT_FILENO;
}

std::optional<unsigned> device_of(int terminal) noexcept {
  unsigned device = 0;
  if (::ioctl(terminal, TIOCGDEV, &device) != 0) return std::nullopt;
  return device;
}

// With a description of our own, as O_NONBLOCK on that of `standard` would be everybody's who has
// it. A terminal of somebody else's (su) may be opened as our controlling one only.
Fd open_terminal(int standard) {
  for (const std::string& path :
       {fmt::format("/proc/self/fd/{}", standard), std::string("/dev/tty")}) {
    Fd own(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    const auto device = own ? device_of(own.get()) : std::nullopt;
    if (device && device == device_of(standard)) return own;
  }
  return Fd(::fcntl(standard, F_DUPFD_CLOEXEC, 0));  // which waits
}

}  // namespace

TerminalOutput::TerminalOutput() : fd_(open_terminal(find_terminal())) {}

bool TerminalOutput::is(int standard) const noexcept {
  const auto device = device_of(standard);
  return device && device == device_of(fd());
}

bool TerminalOutput::write(std::string_view bytes) {
  waiting_ += bytes;
  return write_on();
}

bool TerminalOutput::write_on() {
  while (!waiting_.empty()) {
    const ssize_t size = ::write(fd(), waiting_.data(), waiting_.size());
    if (size >= 0) {
      waiting_.erase(0, static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      waiting_.clear();
      return false;
    }
  }
  return true;
}

bool TerminalOutput::finish(int signals) {
  while (is_waiting()) {
    pollfd waits[] = {{fd(), POLLOUT, 0}, {signals, POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0) continue;
    if (waits[1].revents != 0 && ends_programs(read_signals(signals))) return false;
    if (waits[0].revents != 0) write_on();
  }
  return true;
}

}  // namespace sluice::launcher
