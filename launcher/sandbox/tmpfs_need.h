// How large a tmpfs must be to hold what was counted.
#pragma once

#include <cstdint>

namespace sluice::launcher {

// A tmpfs of new_tmpfs() has one inode for each 4 KiB, its root included, and stores data and long
// links (129 bytes and more, shmem_symlink) in whole pages.
class TmpfsNeed {
 public:
  void add_entry() { ++entries_; }
  void add_link(std::uint64_t size);
  // From byte `begin` up to `end`. Ranges of one file share no page.
  void add_data(std::uint64_t begin, std::uint64_t end);

  std::uint64_t entries() const { return entries_; }
  std::uint64_t bytes() const;
  // A quarter more, in whole MiB.
  std::uint64_t mebibytes_with_room() const;

 private:
  std::uint64_t entries_ = 1;
  std::uint64_t data_ = 0;  // bytes, in whole pages
};

}  // namespace sluice::launcher
