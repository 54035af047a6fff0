// An audit line as bytes in a row, from the thread that saw it to the one that writes it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "metrics/audit.h"

namespace sluice::metrics {

// What the line holds in memory, its texts included.
std::size_t weight(const AuditLine& line) noexcept;

// Lines one after the other in blocks that are used again: putting a line in allocates nothing as
// long as there is a spare block, and no text is freed by another thread than the one it came from.
class AuditRecords {
 public:
  // May throw std::bad_alloc; the line is then not in it.
  void push(const AuditLine& line);

  // Calls `each(line)` in the order of push(). `line` is made anew from the record; its texts keep
  // their memory from one line to the next.
  template <class Each>
  void for_each(AuditLine& line, Each each) const {
    for (const Block& block : blocks_) {
      for (const char* next = block.bytes.get(); next < block.bytes.get() + block.used;) {
        next = read(next, line);
        each();
      }
    }
  }

  // Forgets the lines and keeps up to `spare_cap` of their blocks for the next ones.
  void clear();
  // The lines move to `other`, which must have none, and its spare blocks come back.
  void move_to(AuditRecords& other);

 private:
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::size_t used = 0;
    std::size_t capacity = 0;
  };
  static constexpr std::size_t block_bytes = std::size_t{64} * 1024;
  static constexpr std::size_t spare_cap = 16;

  char* room(std::size_t bytes);
  static const char* read(const char* bytes, AuditLine& line);

  std::vector<Block> blocks_;
  std::vector<Block> spare_;
};

}  // namespace sluice::metrics
