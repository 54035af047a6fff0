// Reads in what an agent's programs print which paths they found read-only: their words, and
// nobody's proof.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::launcher {

// The absolute path that a line says is on a read-only file system, as it stands there (strerror(3)
// in what coreutils, shells, Python, Node.js, Go, Java, Ruby and apt make of it); "" for none.
// `words` is where "ead-only file system" begins in `line`.
std::string path_found_read_only(std::string_view line, std::size_t words);

// Of a long line at most longest_line bytes are read. An agent can print whatever it likes, so no
// more than most_lines of those that have the words are read.
class ErofsWatch {
 public:
  static constexpr std::size_t longest_line = 4096;
  static constexpr std::size_t most_lines = 1000;
  static constexpr std::size_t most_paths = 5;
  static constexpr std::size_t longest_account = most_paths * (longest_line + 1) + 2;  // bytes

  // Bytes as they pass, in any pieces. Allocates only where a line has the words.
  void feed(std::string_view bytes);
  // No more will come: a line without an end is one as well.
  void finish();

  // For another process, which reads it by of(): 'h' or not, 'm' for more paths or not, each path
  // and NUL.
  std::string account() const;
  static ErofsWatch of(std::string_view account);

  // What another one heard, behind what this one did.
  void take_in(const ErofsWatch& other);

  // A program said the words, with a path or without.
  bool has_heard() const noexcept { return has_heard_; }
  // Each once, in order.
  const std::vector<std::string>& paths() const noexcept { return paths_; }
  bool has_more_paths() const noexcept { return has_more_paths_; }

 private:
  void keep(std::string_view bytes) noexcept;
  void read(std::string_view lines);
  void add(const std::string& path);

  std::array<char, longest_line> line_{};  // what has no end yet, of it the last bytes
  std::size_t kept_ = 0;
  std::size_t lines_left_ = most_lines;
  bool has_heard_ = false;
  std::vector<std::string> paths_;
  bool has_more_paths_ = false;
};

}  // namespace sluice::launcher
