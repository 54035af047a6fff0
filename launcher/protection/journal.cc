#include "launcher/protection/journal.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace sluice::launcher {
namespace {

constexpr std::string_view source_word = "source";
constexpr std::string_view placeholder_word = "placeholder";

// The next word, and the blank behind it, off the beginning of `text`.
std::string_view take_word(std::string_view& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

template <class Number>
std::optional<Number> take_number(std::string_view& text) {
  const std::string_view word = take_word(text);
  Number number = 0;
  const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (word.empty() || error != std::errc() || rest != word.data() + word.size()) {
    return std::nullopt;
  }
  return number;
}

std::optional<Placeholder> decode_placeholder(std::string_view text) {
  const auto state = take_number<unsigned>(text);
  const auto kind = take_number<unsigned>(text);
  const auto device = take_number<dev_t>(text);
  const auto inode = take_number<ino_t>(text);
  const bool fine = state && kind && device && inode && text.starts_with('/') &&
                    *state <= static_cast<unsigned>(Placeholder::State::not_ours) &&
                    *kind <= static_cast<unsigned>(StandIn::own_place);
  if (!fine) return std::nullopt;
  return Placeholder{static_cast<Placeholder::State>(*state), static_cast<StandIn>(*kind), *device,
                     *inode, std::string(text)};
}

bool add_record(Journal& journal, std::string_view record) {
  const std::string_view word = take_word(record);
  if (word == placeholder_word) {
    auto placeholder = decode_placeholder(record);
    if (!placeholder) return false;
    const std::string path = placeholder->path;
    journal.placeholders.insert_or_assign(path, std::move(*placeholder));
    return true;
  }
  const auto device = take_number<dev_t>(record);
  const auto inode = take_number<ino_t>(record);
  if (word != source_word || !device || !inode) return false;
  journal.sources.emplace_back(*device, *inode);
  return true;
}

}  // namespace

std::string encode_source(const FileId& source) {
  return fmt::format("{} {} {}", source_word, source.first, source.second) + '\0';
}

std::string encode(const Placeholder& placeholder) {
  return fmt::format("{} {} {} {} {} {}", placeholder_word,
                     static_cast<unsigned>(placeholder.state),
                     static_cast<unsigned>(placeholder.kind), placeholder.device, placeholder.inode,
                     placeholder.path) +
         '\0';
}

std::optional<Journal> decode_journal(std::string_view bytes) {
  Journal journal;
  for (std::size_t end = bytes.find('\0'); end != std::string_view::npos; end = bytes.find('\0')) {
    if (!add_record(journal, bytes.substr(0, end))) return std::nullopt;
    bytes.remove_prefix(end + 1);
  }
  return journal;
}

}  // namespace sluice::launcher
