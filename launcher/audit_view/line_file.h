// Reads lines of a file that may still grow, be rotated away, or hold anything at all.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

// Cuts pieces into lines; memory is bounded by the longest line that is taken.
class LineCutter {
 public:
  static constexpr std::size_t longest_line = std::size_t{64} * 1024;

  // A line without its line feed; nothing for one that is too long.
  using Each = std::function<void(std::optional<std::string_view>)>;
  void add(std::string_view piece, const Each& each);
  // What is behind the last line feed is a line, too.
  void end(const Each& each);

 private:
  std::string held_;
  bool is_too_long_ = false;
};

class LineFile {
 public:
  // A path, or "-" for standard input.
  static Result<LineFile> open(const std::string& path);

  // The lines of the next piece; false where there is nothing more for now.
  Result<bool> read(const LineCutter::Each& each);
  // After read() has answered false. Where another file has come in the place of this one
  // (logrotate), or this one was emptied: goes on at its beginning, with another file only the
  // second time that it sees it, and after all of this one's lines.
  Result<void> go_on(const LineCutter::Each& each);
  void end(const LineCutter::Each& each) { cutter_.end(each); }
  bool is_stream() const noexcept { return path_ == "-"; }

 private:
  LineFile(std::string path, Fd file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  Fd file_;
  LineCutter cutter_;
  bool is_replaced_ = false;  // as go_on() saw it last
};

}  // namespace sluice::launcher
