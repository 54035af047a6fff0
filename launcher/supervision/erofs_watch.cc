#include "launcher/supervision/erofs_watch.h"

#include <string.h>

#include <algorithm>

namespace sluice::launcher {
namespace {

constexpr auto npos = std::string_view::npos;
// strerror(EROFS); Node.js and Go say it with a small letter.
constexpr std::string_view words = "ead-only file system";

// memmem(3) and memrchr(3) look at many bytes at once: all that an agent prints passes here.
std::size_t find_words(std::string_view text) noexcept {
  const void* const at = ::memmem(text.data(), text.size(), words.data(), words.size());
  return at == nullptr ? npos
                       : static_cast<std::size_t>(static_cast<const char*>(at) - text.data());
}

// Where the line begins that reaches up to the end of `text`.
std::size_t begin_of_last_line(std::string_view text) noexcept {
  const void* const at = ::memrchr(text.data(), '\n', text.size());
  return at == nullptr ? 0
                       : static_cast<std::size_t>(static_cast<const char*>(at) - text.data()) + 1;
}

// Without colours and other control sequences (ECMA-48 5.4).
std::string without_sequences(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '[') {
      for (i += 2; i < text.size() && (text[i] < '@' || text[i] > '~');) ++i;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool has_control(std::string_view path) {
  return std::any_of(path.begin(), path.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

struct Quotes {
  std::string_view open;
  std::string_view close;
};
constexpr Quotes all_quotes[] = {{"'", "'"}, {"\"", "\""},         {"`", "`"},
                                 {"`", "'"}, {"\u2018", "\u2019"}, {"\u201c", "\u201d"}};

std::string_view first_quoted(std::string_view text) {
  std::string_view found;
  std::size_t first = npos;
  for (const Quotes& quotes : all_quotes) {
    const std::size_t open = text.find(std::string(quotes.open) + "/");
    if (open >= first) continue;
    const std::size_t begin = open + quotes.open.size();
    const std::size_t end = text.find(quotes.close, begin);
    if (end == npos) continue;
    first = open;
    found = text.substr(begin, end - begin);
  }
  return found;
}

std::string_view quoted_at_end(std::string_view text) {
  for (const Quotes& quotes : all_quotes) {
    if (!text.ends_with(quotes.close)) continue;
    const std::string_view inside = text.substr(0, text.size() - quotes.close.size());
    const std::size_t open = inside.rfind(std::string(quotes.open) + "/");
    if (open != npos) return inside.substr(open + quotes.open.size());
  }
  return {};
}

std::string_view unquoted(std::string_view text) {
  std::size_t begin = npos;
  for (std::size_t i = text.size(); i-- > 0 && begin == npos;) {
    if (text[i] == '/' && (i == 0 || std::string_view(" \t(=[").find(text[i - 1]) != npos))
      begin = i;
  }
  return begin == npos ? std::string_view() : text.substr(begin);
}

// "open '/x'" of Node.js, "'/x'" of Python, "@ rb_sysopen - /x (Errno::EROFS)" of Ruby.
std::string_view path_after(std::string_view text) {
  constexpr std::string_view dash = " - ";
  const std::size_t at = text.starts_with(" @ ") ? text.find(dash) : npos;
  if (at == npos) return first_quoted(text);
  const std::string_view path = text.substr(at + dash.size());
  return path.starts_with('/') ? path.substr(0, path.find(" (")) : std::string_view();
}

// "touch: cannot touch '/x': ", "bash: /x: ", "open /x: ", "/x (", "/x - open (30: ".
std::string_view path_before(std::string_view text) {
  if (text.ends_with("(30: ")) text.remove_suffix(5);
  const bool is_named_last = text.ends_with(": ");
  while (!text.empty() && std::string_view(" :(").find(text.back()) != npos) text.remove_suffix(1);
  if (const std::string_view quoted = quoted_at_end(text); !quoted.empty()) return quoted;
  const std::string_view path = unquoted(text);
  const std::size_t colon = path.find(": ");
  // "bash: /a b: " is one path; in any other sentence a blank ends it.
  if (is_named_last && colon == npos) return path;
  return path.substr(0, std::min(colon, path.find(' ')));
}

}  // namespace

std::string path_found_read_only(std::string_view line, std::size_t at) {
  if (at == 0 || (line[at - 1] != 'R' && line[at - 1] != 'r')) return {};
  std::string_view begin = line.substr(0, at - 1);
  begin.remove_prefix(begin.rfind('\r') + 1);  // what a progress bar has written over
  std::string_view end = line.substr(at + words.size());
  end = end.substr(0, end.find('\r'));
  const std::string after = without_sequences(end);
  std::string path(path_after(after));
  if (path.empty()) path = path_before(without_sequences(begin));
  return has_control(path) ? std::string() : path;
}

void ErofsWatch::feed(std::string_view bytes) {
  if (lines_left_ == 0) return;
  const std::size_t first = bytes.find('\n');
  keep(bytes.substr(0, first));
  if (first == npos) return;
  finish();
  bytes.remove_prefix(first + 1);
  const std::size_t last = begin_of_last_line(bytes);
  read(bytes.substr(0, last));
  keep(bytes.substr(last));
}

void ErofsWatch::finish() {
  read({line_.data(), kept_});
  kept_ = 0;
}

void ErofsWatch::keep(std::string_view bytes) noexcept {
  if (bytes.size() > longest_line) bytes.remove_prefix(bytes.size() - longest_line);
  const std::size_t stays = std::min(kept_, longest_line - bytes.size());
  ::memmove(line_.data(), line_.data() + kept_ - stays, stays);
  ::memcpy(line_.data() + stays, bytes.data(), bytes.size());
  kept_ = stays + bytes.size();
}

void ErofsWatch::read(std::string_view lines) {
  for (std::size_t at = 0; lines_left_ > 0 && (at = find_words(lines)) != npos; --lines_left_) {
    constexpr std::size_t half = longest_line / 2;
    const std::size_t nearest = at > half ? at - half : 0;
    const std::size_t begin = std::max(begin_of_last_line(lines.substr(0, at)), nearest);
    const std::size_t end = std::min({lines.find('\n', at), lines.size(), at + half});
    has_heard_ = true;
    add(path_found_read_only(lines.substr(begin, end - begin), at - begin));
    lines.remove_prefix(end);
  }
}

std::string ErofsWatch::account() const {
  std::string account{has_heard_ ? 'h' : '-', has_more_paths_ ? 'm' : '-'};
  for (const std::string& path : paths_) account += path + '\0';
  return account;
}

ErofsWatch ErofsWatch::of(std::string_view account) {
  ErofsWatch heard;
  if (account.size() < 2) return heard;
  heard.has_heard_ = account[0] == 'h';
  heard.has_more_paths_ = account[1] == 'm';
  account.remove_prefix(2);
  for (std::size_t end = 0; (end = account.find('\0')) != npos; account.remove_prefix(end + 1)) {
    heard.add(std::string(account.substr(0, end)));
  }
  return heard;
}

void ErofsWatch::take_in(const ErofsWatch& other) {
  has_heard_ |= other.has_heard_;
  for (const std::string& path : other.paths_) add(path);
  has_more_paths_ |= other.has_more_paths_;
}

void ErofsWatch::add(const std::string& path) {
  if (path.empty() || std::count(paths_.begin(), paths_.end(), path) != 0) return;
  if (paths_.size() == most_paths) {
    has_more_paths_ = true;
  } else {
    paths_.push_back(path);
  }
}

}  // namespace sluice::launcher
