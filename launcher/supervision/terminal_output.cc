#include "launcher/supervision/terminal_output.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/signals.h"
#include "launcher/sandbox/terminal.h"

namespace sluice::launcher {
namespace {

// What is on its way comes before whatever follows on Ctrl-C. Bytes.
constexpr int most_ahead = 16384;

int find_terminal() {
  for (const int standard : {STDOUT_FILENO, STDERR_FILENO, STDIN_FILENO}) {
    if (::isatty(standard) == 1) return standard;
  }
  return STDOUT_FILENO;
}

// In the carrier.
[[noreturn]] void carry(int source, int terminal) noexcept {
  std::array<char, most_ahead> chunk;
  for (;;) {
    const ssize_t size = ::read(source, chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) ::_exit(0);
    if (!pass_on(terminal, {chunk.data(), static_cast<std::size_t>(size)})) ::_exit(1);
  }
}

}  // namespace

TerminalOutput::TerminalOutput() : terminal_(find_terminal()) {}

Result<void> TerminalOutput::start() {
  auto carrier = start_carrier("sluice-terminal", SOCK_STREAM, {terminal_},
                               [&](Fd socket) { carry(socket.get(), terminal_); });
  if (!carrier) return Failure(carrier.error());
  carrier_ = std::move(*carrier);
  if (::setsockopt(fd(), SOL_SOCKET, SO_SNDBUF, &most_ahead, sizeof most_ahead) != 0) {
    return fail_errno(Errc::unavailable, "SO_SNDBUF");
  }
  return {};
}

bool TerminalOutput::is(int standard) const noexcept {
  return is_same_terminal(standard, terminal_);
}

bool TerminalOutput::write(std::string_view bytes) {
  waiting_ += bytes;
  return write_on();
}

bool TerminalOutput::write_on() {
  while (!waiting_.empty()) {
    const ssize_t size =
        ::send(fd(), waiting_.data(), waiting_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
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
  const bool is_taken = wait_for_reader(signals);
  // While it waits there, nobody sets the terminal's modes. Its socket is open, so nobody reaped
  // it.
  if (!is_taken) ::kill(carrier_.pid, SIGKILL);
  ::waitpid(carrier_.pid, nullptr, 0);
  return is_taken;
}

bool TerminalOutput::wait_for_reader(int signals) {
  for (;;) {
    if (!is_waiting()) ::shutdown(fd(), SHUT_WR);  // at the end of which it ends
    pollfd waits[] = {{fd(), static_cast<short>(is_waiting() ? POLLOUT : POLLIN), 0},
                      {signals, POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0) continue;
    if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) return true;
    if (waits[1].revents != 0 && ends_programs(read_signals(signals))) return false;
    if (waits[0].revents != 0) write_on();
  }
}

}  // namespace sluice::launcher
