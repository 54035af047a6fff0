// A program that an agent started, as its supervisor tells it to sluiced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::netns {

// Texts are what the agent chose, unescaped, of any bytes. Numbers of processes are those that the
// supervisor sees.
struct SeenExec {
  std::string program;            // as it was named, or the file behind a descriptor
  std::vector<std::string> argv;  // at most max_exec_words
  bool argv_cut = false;          // there were more, or longer ones
  std::string cwd;
  std::uint64_t pid = 0;
  std::uint64_t parent_pid = 0;
  std::string parent;                        // the name of that process (comm, proc(5))
  std::optional<std::uint64_t> ms;           // until it ended or became another program
  std::optional<std::uint64_t> exit_status;  // 128+n after signal n
  std::string error;                         // why something could not be read
};

inline constexpr std::size_t max_exec_words = 256;

}  // namespace sluice::netns
