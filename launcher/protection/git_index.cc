#include "launcher/protection/git_index.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

namespace sluice::launcher {
namespace {

constexpr std::size_t header_size = 12;
constexpr std::size_t flags_at = 60;  // of an entry: behind ten numbers and a SHA-1
constexpr std::size_t sha256_excess = 12;
constexpr std::uint16_t extended_flag = 0x4000;

std::uint32_t number_at(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < size; ++i) {
    number = number << 8 | static_cast<unsigned char>(bytes[at + i]);
  }
  return number;
}

bool is_odd(std::string_view component) {
  std::string lower(component);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower.empty() || lower == "." || lower == ".." || lower == ".git";
}

// A directory of a sparse index ends with '/'.
bool is_odd_path(std::string_view path) {
  if (path.ends_with('/')) path.remove_suffix(1);
  for (;;) {
    const std::size_t slash = path.find('/');
    if (is_odd(path.substr(0, slash))) return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
}

class Reader {
 public:
  Reader(std::string_view index, std::size_t hash_excess)
      : index_(index), hash_excess_(hash_excess) {}

  // Nothing for what is no index with hashes of this size.
  std::optional<bool> run() {
    if (index_.size() < header_size || !index_.starts_with("DIRC")) return std::nullopt;
    version_ = number_at(index_, 4, 4);
    const std::uint32_t count = number_at(index_, 8, 4);
    if (version_ < 2 || version_ > 4) return std::nullopt;
    at_ = header_size;
    bool odd = false;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!read_entry()) return std::nullopt;
      odd = odd || is_odd_path(path_);
    }
    return odd;
  }

 private:
  bool read_entry() {
    const std::size_t begin = at_;
    const std::size_t flags = begin + flags_at + hash_excess_;
    if (index_.size() < flags + 4) return false;
    const bool is_extended = (number_at(index_, flags, 2) & extended_flag) != 0;
    at_ = flags + (is_extended ? 4 : 2);
    if (version_ == 4 && !drop_end()) return false;
    if (version_ != 4) path_.clear();
    const std::size_t end = index_.find('\0', at_);
    if (end == std::string_view::npos) return false;
    path_ += index_.substr(at_, end - at_);
    // Up to eight NULs, so that the next entry begins at a multiple of eight bytes.
    at_ = version_ == 4 ? end + 1 : begin + (end - begin + 8) / 8 * 8;
    return at_ <= index_.size();
  }

  // Version 4: how much of the entry before is not the beginning of this one.
  bool drop_end() {
    std::size_t size = 0;
    for (bool is_first = true;; is_first = false) {
      if (at_ == index_.size() || size > index_.size()) return false;
      const auto byte = static_cast<unsigned char>(index_[at_++]);
      size = (is_first ? 0 : (size + 1) << 7) | (byte & 0x7F);
      if ((byte & 0x80) == 0) break;
    }
    if (size > path_.size()) return false;
    path_.resize(path_.size() - size);
    return true;
  }

  std::string_view index_;
  std::size_t hash_excess_;
  std::uint32_t version_ = 0;
  std::size_t at_ = 0;
  std::string path_;
};

}  // namespace

bool leads_astray(std::string_view index) {
  const auto by_sha1 = Reader(index, 0).run();
  if (by_sha1 && !*by_sha1) return false;
  const auto by_sha256 = Reader(index, sha256_excess).run();
  return !by_sha256 || *by_sha256;
}

}  // namespace sluice::launcher
