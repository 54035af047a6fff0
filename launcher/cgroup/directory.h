// One control group of sluice's own: held by a lock while its maker lives, ended and removed by it
// or by the next run.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"

namespace sluice::launcher::cgroup {

class Directory {
 public:
  // Makes a group with a new name below `parent`, closed to other users. The lock (flock(2) on the
  // directory) ends with the last process that has the descriptor, however it ends.
  static Result<Directory> make(const std::string& parent);
  Directory(Directory&&) noexcept = default;
  Directory& operator=(Directory&&) = delete;
  // Kills what is in the group and removes it.
  ~Directory();
  // Leaves the group where it is, for the next run.
  void abandon() noexcept { lock_.reset(); }

  const std::string& path() const noexcept { return path_; }
  // Into a file of the group; the error names file and value.
  Result<void> write(std::string_view file, std::string_view value) const;
  bool has(std::string_view file) const;
  // "" where there is none.
  std::string read(std::string_view file) const;

 private:
  Directory(std::string path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string path_;
  Fd lock_;
};

// The number behind `key` in a file of "KEY NUMBER" lines; 0 where there is none.
unsigned long long number_of(std::string_view lines, std::string_view key);

// Kills and removes the groups below `parent` that a killed sluice of this user has left.
void remove_abandoned(const std::string& parent);

}  // namespace sluice::launcher::cgroup
