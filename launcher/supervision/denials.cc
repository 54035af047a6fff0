#include "launcher/supervision/denials.h"

#include <fmt/core.h>

#include "base/io.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_bytes = std::size_t{64} * 1024;
constexpr std::string_view file_name = "/run/sluice/denials";
constexpr std::string_view truncated = "(no more denials are listed here)\n";

// It came printable; a control byte that got through all the same must not reach a terminal.
std::string one_line(std::string_view sentence) {
  std::string line(sentence);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return line;
}

}  // namespace

std::optional<std::uint64_t> LineLimit::admit(Clock::time_point now) noexcept {
  if (admitted_ >= burst && now < last_ + pause) {
    ++left_out_;
    return std::nullopt;
  }
  ++admitted_;
  last_ = now;
  return std::exchange(left_out_, 0);
}

void Denials::append(std::string_view sentence) {
  if (full_ || !file_) return;
  std::string line = fmt::format("{}\n", sentence);
  full_ = written_ + line.size() > most_bytes;
  if (full_) line = truncated;
  written_ += line.size();
  // A full tmpfs is the agent's own loss.
  if (!write_all(file_.get(), file_name, line)) full_ = true;
}

std::optional<std::string> Denials::add(std::string_view sentence,
                                        LineLimit::Clock::time_point now) {
  std::string line = one_line(sentence);
  append(line);
  const auto left_out = limit_.admit(now);
  if (!left_out) return std::nullopt;
  if (*left_out == 0) return line;
  return fmt::format("{} ({} more before it)", line, *left_out);
}

}  // namespace sluice::launcher
