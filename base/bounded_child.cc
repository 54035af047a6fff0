#include "base/bounded_child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/fd.h"
#include "base/io.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t most_bytes = 65536;

// False at the deadline.
bool wait_readable(int fd, Clock::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd one{fd, POLLIN, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

Told read_until(int fd, Clock::time_point deadline) {
  Told told;
  std::array<char, 4096> buffer{};
  while (told.text.size() < most_bytes && wait_readable(fd, deadline)) {
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      told.is_finished = size == 0;
      break;
    }
    told.text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return told;
}

[[noreturn]] void be_child(int to, pid_t parent, const std::function<void(const Tell&)>& work) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  work([to](const std::string& line) {
    if (!write_all(to, "pipe", line + "\n")) ::_exit(1);
  });
  ::_exit(0);
}

}  // namespace

Result<Told> in_bounded_child(std::chrono::milliseconds patience,
                              const std::function<void(const Tell&)>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::unavailable, "pipe2");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno(Errc::unavailable, "fork");
  if (child == 0) be_child(write_end.get(), parent, work);
  // Here as well as there: whichever comes first. It fails when the child has ended.
  static_cast<void>(::setpgid(child, child));
  write_end.reset();
  Told told = read_until(read_end.get(), Clock::now() + patience);
  static_cast<void>(::kill(-child, SIGKILL));
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return told;
}

}  // namespace sluice
