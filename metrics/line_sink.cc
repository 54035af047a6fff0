#include "metrics/line_sink.h"

#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace sluice::metrics {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int poll_interval_ms = 100;

std::size_t count_lines(std::string_view text) noexcept {
  std::size_t lines = 0;
  for (std::size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) ++lines;
  return lines;
}

}  // namespace

LineSink::LineSink(Fd fd) : fd_(std::move(fd)), deadline_(Clock::duration::max().count()) {
  struct stat status {};
  regular_ = ::fstat(fd_.get(), &status) == 0 && S_ISREG(status.st_mode);
}

void LineSink::stop_waiting_at(Clock::time_point time) noexcept {
  deadline_ = time.time_since_epoch().count();
}

std::size_t LineSink::write(std::string_view lines) {
  if (cut_off_ && write_some("\n") != 1) return 0;
  cut_off_ = false;
  std::size_t done = 0;
  while (done < lines.size()) {
    const ssize_t size = write_some(lines.substr(done));
    if (size < 0) break;
    done += static_cast<std::size_t>(size);
  }
  if (done == lines.size()) tell(0);
  cut_off_ = done > 0 && lines[done - 1] != '\n';
  return count_lines(lines.substr(0, done));
}

// A pipe that polls as writable takes PIPE_BUF bytes without blocking (pipe(7)), so the thread is
// never stuck in write(2) for longer than its deadline. O_NONBLOCK would be no way: it is shared
// with every other holder of stdout.
ssize_t LineSink::write_some(std::string_view bytes) {
  for (;;) {
    if (!regular_ && !wait_writable()) return -1;
    const std::size_t size =
        regular_ ? bytes.size() : std::min<std::size_t>(bytes.size(), PIPE_BUF);
    const ssize_t written = ::write(fd_.get(), bytes.data(), size);
    if (written >= 0) return written;
    if (errno == EINTR || errno == EAGAIN) continue;
    tell(errno);
    return -1;
  }
}

bool LineSink::wait_writable() {
  for (;;) {
    const bool late = Clock::now().time_since_epoch().count() >= deadline_;
    pollfd ready{fd_.get(), POLLOUT, 0};
    if (::poll(&ready, 1, late ? 0 : poll_interval_ms) > 0) return true;
    if (late) return false;
  }
}

void LineSink::tell(int error_number) {
  const bool fails = error_number != 0;
  if (fails == failing_) return;
  failing_ = fails;
  if (fails) {
    log::error("cannot write the audit log: {}; lines are lost until it can be written again",
               strerrordesc_np(error_number));
  } else {
    log::warning("the audit log can be written again");
  }
}

}  // namespace sluice::metrics
