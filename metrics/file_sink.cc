#include "metrics/file_sink.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <utility>

#include "base/log.h"

namespace sluice::metrics {

Result<std::unique_ptr<FileSink>> FileSink::open(std::string path) {
  std::unique_ptr<FileSink> sink(new FileSink(std::move(path)));
  auto fd = sink->open_path();
  if (!fd) return Failure(fd.error());
  sink->use(std::move(*fd));
  return sink;
}

Result<Fd> FileSink::open_path() const {
  // Without O_NONBLOCK a FIFO that nobody reads would be waited for here.
  constexpr int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  Fd fd(::open(path_.c_str(), flags, 0640));
  if (fd) return fd;
  return fail_errno(Errc::unavailable, fmt::format("cannot open the audit file '{}'", path_),
                    "create its directory, or change audit.file");
}

void FileSink::use(Fd fd) {
  struct stat status {};
  if (::fstat(fd.get(), &status) == 0) {
    device_ = status.st_dev;
    inode_ = status.st_ino;
  }
  sink_ = std::make_unique<LineSink>(std::move(fd));
}

bool FileSink::is_still_there() const {
  struct stat status {};
  return ::stat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
}

std::size_t FileSink::write(std::string_view lines) {
  if (!is_still_there()) {
    if (auto fd = open_path()) {
      use(std::move(*fd));
      told_ = false;
    } else if (!std::exchange(told_, true)) {
      log::error("{}: lines go on to the file that was there", fd.error().what);
    }
  }
  using Clock = std::chrono::steady_clock;
  sink_->stop_waiting_at(Clock::time_point(Clock::duration(deadline_.load())));
  return sink_->write(lines);
}

void FileSink::stop_waiting_at(std::chrono::steady_clock::time_point time) noexcept {
  deadline_ = time.time_since_epoch().count();
}

}  // namespace sluice::metrics
