#include "launcher/protection/git_index.h"

#include <limits.h>

#include <algorithm>

namespace sluice::launcher {
namespace {

constexpr std::size_t header_size = 12;
constexpr std::size_t mode_at = 24;   // of an entry
constexpr std::size_t flags_at = 40;  // behind ten numbers and the hash
constexpr std::uint16_t extended_flag = 0x4000;
constexpr std::uint32_t repository_mode = 0160000;
constexpr std::uint32_t folder_mode = 0040000;
constexpr std::uint32_t kind_of_mode = 0170000;
constexpr std::string_view split_extension = "link";
// Version 4 says a path by what differs from the one before: few bytes make many long ones.
constexpr std::size_t most_path_bytes = std::size_t{64} * 1024 * 1024;
constexpr std::size_t bytes_beside_a_path = 64;

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
  Reader(std::string_view index, ObjectFormat format, PathsWanted wanted)
      : index_(index), hash_size_(format == ObjectFormat::sha1 ? 20 : 32), wanted_(wanted) {}

  IndexContent run() {
    content_.leads_astray = !read_entries() || (has_nameless_ && !is_split());
    content_.is_half = has_nameless_repository_;
    content_.leads_astray = content_.leads_astray || is_odd_;
    return std::move(content_);
  }

 private:
  bool read_entries() {
    if (index_.size() < header_size || !index_.starts_with("DIRC")) return false;
    version_ = number_at(index_, 4, 4);
    const std::uint32_t count = number_at(index_, 8, 4);
    if (version_ < 2 || version_ > 4) return false;
    at_ = header_size;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!read_entry()) return false;
      take();
    }
    return true;
  }

  // The entry whose path and mode were read.
  void take() {
    const std::uint32_t kind = mode_ & kind_of_mode;
    if (path_.empty()) {  // in half of a split index: as in the other half
      has_nameless_ = true;
      has_nameless_repository_ = has_nameless_repository_ || kind == repository_mode;
      return;
    }
    is_odd_ = is_odd_ || is_odd_path(path_);
    const bool is_wanted =
        kind == folder_mode || kind == repository_mode || wanted_ == PathsWanted::all;
    if (!is_wanted) return;
    taken_ += path_.size() + bytes_beside_a_path;
    if (taken_ > most_path_bytes) {
      content_.is_cut = true;
    } else if (kind == folder_mode) {
      content_.folders.push_back(path_.substr(0, path_.find_last_not_of('/') + 1));
    } else {
      content_.paths.push_back(path_);
    }
  }

  bool read_entry() {
    const std::size_t begin = at_;
    const std::size_t flags = begin + flags_at + hash_size_;
    if (index_.size() < flags + 4) return false;
    mode_ = number_at(index_, begin + mode_at, 4);
    const bool is_extended = (number_at(index_, flags, 2) & extended_flag) != 0;
    at_ = flags + (is_extended ? 4 : 2);
    if (version_ == 4 && !drop_end()) return false;
    if (version_ != 4) path_.clear();
    const std::size_t end = index_.find('\0', at_);
    if (end == std::string_view::npos) return false;
    if (path_.size() + (end - at_) >= PATH_MAX) return false;  // git cannot have put it there
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

  // Extensions: a name, the size of what follows, and that; the hash of all ends the file.
  bool is_split() const {
    for (std::size_t at = at_; at + 8 + hash_size_ <= index_.size();) {
      if (index_.substr(at, 4) == split_extension) return true;
      at += 8 + number_at(index_, at + 4, 4);
    }
    return false;
  }

  std::string_view index_;
  std::size_t hash_size_;
  PathsWanted wanted_;
  IndexContent content_;
  std::uint32_t version_ = 0;
  std::uint32_t mode_ = 0;
  std::size_t at_ = 0;
  std::string path_;
  std::size_t taken_ = 0;
  bool is_odd_ = false;
  bool has_nameless_ = false;
  bool has_nameless_repository_ = false;
};

}  // namespace

IndexContent read_index(std::string_view index, ObjectFormat format, PathsWanted wanted) {
  return Reader(index, format, wanted).run();
}

}  // namespace sluice::launcher
