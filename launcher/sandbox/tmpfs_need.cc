#include "launcher/sandbox/tmpfs_need.h"

#include <unistd.h>

#include <algorithm>

#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
constexpr std::uint64_t longest_short_link = 128;

std::uint64_t page() {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

void TmpfsNeed::add_link(std::uint64_t size) {
  add_entry();
  if (size > longest_short_link) data_ += page();
}

void TmpfsNeed::add_data(std::uint64_t begin, std::uint64_t end) {
  data_ += ((end + page() - 1) / page() - begin / page()) * page();
}

std::uint64_t TmpfsNeed::bytes() const { return std::max(data_, entries_ * bytes_per_inode); }

std::uint64_t TmpfsNeed::mebibytes_with_room() const {
  return (bytes() + bytes() / 4 + mebibyte - 1) / mebibyte;
}

}  // namespace sluice::launcher
