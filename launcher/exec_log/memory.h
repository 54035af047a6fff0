// Reads words from another process's memory, no more of them than is asked for.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace sluice::launcher {

struct Words {
  std::vector<std::string> list;
  bool cut = false;  // there were more, or longer ones
};

// What an exec(3) may hold is megabytes.
inline constexpr std::size_t most_argument_bytes = 4096;

class Memory {
 public:
  // Any thread of the process; needs the right to trace it (process_vm_readv(2)).
  explicit Memory(pid_t thread) : thread_(thread) {}

  // Up to the NUL, at most `limit` bytes. An error is an errno: EFAULT where nothing is mapped,
  // EPERM without the right, ESRCH when the process is gone.
  tl::expected<Words, int> read_word(std::uint64_t address, std::size_t limit) const;
  // A list of pointers that ends with a null pointer, and what they point to: at most
  // netns::max_exec_words words of most_argument_bytes together. No list at `address` 0.
  tl::expected<Words, int> read_words(std::uint64_t address) const;

 private:
  tl::expected<std::size_t, int> read(std::uint64_t address, char* to, std::size_t size) const;

  pid_t thread_;
};

}  // namespace sluice::launcher
