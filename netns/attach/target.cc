#include "netns/attach/target.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "netns/inside.h"

namespace sluice::netns {
namespace {

Result<void> require_foreign(int network, const std::string& name) {
  for (const char* const own : {"/proc/self/ns/net", "/proc/1/ns/net"}) {
    const auto opened = open_network_namespace(own);
    // An ordinary user may not look at pid 1; nor could they enter its namespace.
    if (!opened || !is_same_namespace(opened->get(), network)) continue;
    return fail(Errc::not_permitted, fmt::format("the network of {} is the machine's own", name),
                "start it with a network namespace of its own: docker run --network none, "
                "podman run --network none, unshare -n");
  }
  return {};
}

bool is_over(int process) {
  pollfd wait{process, POLLIN, 0};
  return ::poll(&wait, 1, 0) != 0;
}

}  // namespace

Result<Target> Target::of_process(pid_t pid) {
  Target target;
  target.name_ = fmt::format("process {}", pid);
  // By number: glibc 2.36 is the first with a name for it.
  target.process_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!target.process_) {
    return fail_errno(Errc::unavailable, fmt::format("cannot find {}", target.name_),
                      "name the pid of a process that runs, and of the whole process");
  }
  auto network = open_network_namespace(fmt::format("/proc/{}/ns/net", pid));
  // Alive still: so the number was its own all the time.
  if (is_over(target.process_.get())) {
    return fail(Errc::unavailable, fmt::format("{} has ended", target.name_));
  }
  if (!network) return Failure(network.error());
  target.network_ = std::move(*network);
  if (auto foreign = require_foreign(target.network(), target.name_); !foreign) {
    return Failure(foreign.error());
  }
  return target;
}

Result<Target> Target::at_path(const std::string& path) {
  Target target;
  target.path_ = path;
  target.name_ = fmt::format("'{}'", text::printable(path));
  auto network = open_network_namespace(path);
  if (!network) return Failure(network.error());
  target.network_ = std::move(*network);
  if (auto foreign = require_foreign(target.network(), target.name_); !foreign) {
    return Failure(foreign.error());
  }
  return target;
}

bool Target::has_ended() const {
  if (process_) return is_over(process_.get());
  const auto now = open_network_namespace(path_);
  return !now || !is_same_namespace(now->get(), network_.get());
}

}  // namespace sluice::netns
