#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "launcher/probes/areas.h"
#include "launcher/probes/attempt.h"

namespace sluice::launcher::probes {
namespace {

Answer no_typing_for_others(const Bounds&) {
  return refused({{"TIOCSTI", SYS_ioctl, {no_fd, TIOCSTI, nowhere}},
                  {"TIOCSTI with high bits", SYS_ioctl, {no_fd, TIOCSTI | high_bit, nowhere}},
                  {"TIOCLINUX", SYS_ioctl, {no_fd, TIOCLINUX, nowhere}},
                  {"TIOCLINUX with high bits", SYS_ioctl, {no_fd, TIOCLINUX | high_bit, nowhere}}});
}

bool has_terminal_of_its_own(int terminal) {
  struct stat device {};
  struct stat own {};
  return ::fstat(terminal, &device) == 0 && ::stat("/dev/pts", &own) == 0 &&
         device.st_dev == own.st_dev;
}

// One that lies in no /dev/pts of the sandbox's is the person's.
Answer terminals_are_the_sandboxes(const Bounds&) {
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
    if (::isatty(fd) == 1 && !has_terminal_of_its_own(fd)) {
      return reached(fmt::format("the terminal at descriptor {}", fd));
    }
  }
  return held();
}

// Only what the person types into becomes the controlling one, in a session of the agent's own.
Answer controlling_terminal_is_own(const Bounds& bounds) {
  if (::getsid(0) != bounds.agent) return reached("the session that sluice was started in");
  const Fd terminal(::open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!terminal && errno == ENXIO) return held();
  const bool is_own = ::isatty(STDIN_FILENO) == 1 && has_terminal_of_its_own(STDIN_FILENO);
  return is_own ? held() : reached("/dev/tty");
}

constexpr Probe probes[] = {
    {"typing", "puts letters into a terminal's input", When::before_exec, no_typing_for_others},
    {"terminals", "looks whose terminal descriptors 0-2 are", When::before_exec,
     terminals_are_the_sandboxes},
    {"controlling terminal", "looks for a session and a terminal of somebody else", When::in_proof,
     controlling_terminal_is_own},
};

}  // namespace

std::span<const Probe> terminal_probes() { return probes; }

}  // namespace sluice::launcher::probes
