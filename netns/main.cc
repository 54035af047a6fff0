// sluice-netns: networks for other people's containers, whose only way out is a sluiced.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>

#include "netns/commands/arguments.h"
#include "netns/containers/cni.h"

namespace {

// A descriptor of ours that became number 0, 1 or 2 would be handed to the command of `exec`.
bool fill_standard_descriptors() {
  for (;;) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    if (fd > STDERR_FILENO) return ::close(fd) == 0;
    ::fcntl(fd, F_SETFD, 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (!fill_standard_descriptors()) return 125;
    if (std::getenv("CNI_COMMAND") != nullptr) return sluice::netns::cni_main();
    return sluice::netns::parse_arguments({argv + 1, argv + argc})();
  } catch (const std::exception& bug) {
    fmt::print(stderr, "sluice-netns: error: {}\nhint: this is a bug, please report it\n",
               bug.what());
    return 125;
  }
}
