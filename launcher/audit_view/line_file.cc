#include "launcher/audit_view/line_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/text.h"

namespace sluice::launcher {

void LineCutter::add(std::string_view piece, const Each& each) {
  for (;;) {
    const std::size_t end = piece.find('\n');
    held_ += piece.substr(0, end);
    if (held_.size() > longest_line) {
      is_too_long_ = true;
      held_.clear();
    }
    if (end == piece.npos) return;
    piece.remove_prefix(end + 1);
    each(is_too_long_ ? std::nullopt : std::optional<std::string_view>(held_));
    held_.clear();
    is_too_long_ = false;
  }
}

void LineCutter::end(const Each& each) {
  if (!held_.empty() || is_too_long_) add("\n", each);
}

Result<LineFile> LineFile::open(const std::string& path) {
  Fd file(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                      : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot open the audit log '{}'", text::printable(path)),
                      "name a file that exists and that you may read, or - for standard input");
  }
  return LineFile(path, std::move(file));
}

Result<bool> LineFile::read(const LineCutter::Each& each) {
  std::array<char, 65536> bytes;
  ssize_t size = 0;
  do {
    size = ::read(file_.get(), bytes.data(), bytes.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot read the audit log '{}'", text::printable(path_)),
                      "name the log itself, or - for standard input");
  }
  cutter_.add({bytes.data(), static_cast<std::size_t>(size)}, each);
  return size > 0;
}

Result<void> LineFile::go_on(const LineCutter::Each& each) {
  struct stat named {};
  struct stat own {};
  const bool both = ::stat(path_.c_str(), &named) == 0 && ::fstat(file_.get(), &own) == 0;
  if (!both) return {};  // moved away; the next one is not there yet
  if (named.st_dev == own.st_dev && named.st_ino == own.st_ino) {
    if (own.st_size < ::lseek(file_.get(), 0, SEEK_CUR)) (void)::lseek(file_.get(), 0, SEEK_SET);
    is_replaced_ = false;
    return {};
  }
  // A writer that has looked at the path before the rename may write to this one after it.
  if (!std::exchange(is_replaced_, true)) return {};
  auto next = open(path_);
  if (!next) return {};  // gone again
  // What came since read() said that there is nothing more.
  for (;;) {
    const auto more = read(each);
    if (!more) return Failure(more.error());
    if (!*more) break;
  }
  cutter_.end(each);
  file_ = std::move(next->file_);
  is_replaced_ = false;
  return {};
}

}  // namespace sluice::launcher
