#include "launcher/supervision/own_lines.h"

#include <utility>

namespace sluice::launcher {

void OwnLines::say(std::string_view line, Clock::time_point now) {
  waiting_ += line;
  if (!is_mid_line_ || is_over_) return flush();
  if (!due_) due_ = now + longest_wait;
}

// Where something waits, no more than the rest of their line.
std::size_t OwnLines::piece_of(std::string_view said) const noexcept {
  const std::size_t end = waiting_.empty() ? said.npos : said.find('\n');
  return end == said.npos ? said.size() : end + 1;
}

void OwnLines::on_passed(std::string_view piece) {
  is_mid_line_ = piece.back() != '\n';
  if (!is_mid_line_) flush();
}

void OwnLines::tick(Clock::time_point now) {
  if (due_ && now >= *due_) flush();
}

void OwnLines::end(bool is_mid_line) {
  is_mid_line_ |= is_mid_line;
  is_over_ = true;
  flush();
}

void OwnLines::flush() {
  due_.reset();
  if (waiting_.empty()) return;
  std::string ours = std::exchange(waiting_, {});
  // A terminal in raw mode needs more than a line feed, and so do the lines that are for one.
  if (is_mid_line_) ours.insert(0, ours.ends_with("\r\n") ? "\r\n" : "\n");
  is_mid_line_ = false;
  write_(ours);
}

}  // namespace sluice::launcher
