#include "launcher/sandbox/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace sluice::launcher {
namespace {

void copy_size(int from, int to) {
  winsize size{};
  if (::ioctl(from, TIOCGWINSZ, &size) == 0) ::ioctl(to, TIOCSWINSZ, &size);
}

Result<void> pass_output_through(int slave) {
  termios attributes{};
  if (::tcgetattr(slave, &attributes) != 0) return fail_errno(Errc::bug, "tcgetattr");
  attributes.c_oflag &= ~static_cast<tcflag_t>(OPOST);
  attributes.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (::tcsetattr(slave, TCSANOW, &attributes) != 0) return fail_errno(Errc::bug, "tcsetattr");
  return {};
}

}  // namespace

bool has_terminal() {
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::isatty(standard) == 1) return true;
  }
  return false;
}

bool is_same_terminal(int one, int other) noexcept {
  unsigned first = 0;
  unsigned second = 0;
  return ::ioctl(one, TIOCGDEV, &first) == 0 && ::ioctl(other, TIOCGDEV, &second) == 0 &&
         first == second;
}

Result<Terminal> open_terminal() {
  Terminal terminal;
  terminal.master.reset(::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.master) return fail_errno(Errc::not_permitted, "cannot open a new terminal");
  int unlocked = 0;
  if (::ioctl(terminal.master.get(), TIOCSPTLCK, &unlocked) != 0) {
    return fail_errno(Errc::not_permitted, "TIOCSPTLCK");
  }
  // By descriptor: no path of the sandbox decides which terminal it is (ioctl_tty(2)).
  terminal.slave.reset(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) return fail_errno(Errc::not_permitted, "TIOCGPTPEER");
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::isatty(standard) != 1) continue;
    copy_size(standard, terminal.master.get());
    break;
  }
  if (::isatty(STDIN_FILENO) != 1) {
    if (auto done = pass_output_through(terminal.slave.get()); !done) return Failure(done.error());
  }
  return terminal;
}

}  // namespace sluice::launcher
