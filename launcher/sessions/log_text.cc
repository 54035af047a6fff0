#include "launcher/sessions/log_text.h"

#include <algorithm>

#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t longest_character = 4;

// How many bytes at the end may be the beginning of a character, or of CR LF.
std::size_t unfinished(std::string_view bytes) {
  if (bytes.ends_with('\r')) return 1;
  const std::size_t most = std::min(bytes.size(), longest_character - 1);
  for (std::size_t size = 1; size <= most; ++size) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - size]);
    if (byte < 0x80) return 0;
    if (byte < 0xC0) continue;  // within one
    const std::size_t whole = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return whole > size ? size : 0;
  }
  return 0;
}

void append_shown(std::string& out, std::string_view bytes) {
  for (;;) {
    const std::size_t end = std::min(bytes.find_first_of("\n\t"), bytes.size());
    std::string_view part = bytes.substr(0, end);
    if (end < bytes.size() && bytes[end] == '\n' && part.ends_with('\r')) part.remove_suffix(1);
    text::append_printable(out, part);
    if (end == bytes.size()) return;
    out += bytes[end];
    bytes.remove_prefix(end + 1);
  }
}

}  // namespace

std::string LogText::add(std::string_view bytes) {
  waiting_ += bytes;
  const std::size_t kept = unfinished(waiting_);
  std::string out;
  append_shown(out, std::string_view(waiting_).substr(0, waiting_.size() - kept));
  waiting_.erase(0, waiting_.size() - kept);
  return out;
}

std::string LogText::rest() {
  std::string out;
  append_shown(out, waiting_);
  waiting_.clear();
  return out;
}

}  // namespace sluice::launcher
