// Says when the files of a policy may have changed (inotify(7)): however an editor, a package or a
// Kubernetes volume replaces them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::proxy {

class PolicyWatch {
 public:
  // `path` is a file or a directory that may not exist yet. More than `most` places on the way to
  // it and in it are an error: the kernel's watches are shared with the user's other programs.
  explicit PolicyWatch(std::string path, std::size_t most = 4096);

  // Looks the path up anew and watches every directory that takes part: the one in which each name
  // and each symbolic link of it is found, and what stands at its end. A change after this call is
  // heard. Failed: what could be watched is; the error names the first place that could not, and
  // what to do.
  Result<void> establish();

  // To wait on with poll(2); -1 when nothing can be watched.
  int fd() const noexcept { return inotify_.get(); }
  // Reads what has happened. True: the policy may have changed, or a watch was lost, so
  // establish() and read it.
  bool heard();

 private:
  // What matters in one watched place.
  struct Interest {
    std::set<std::string, std::less<>> names;
    bool everything = false;
  };

  // Null: not watched.
  Interest* watch(const std::string& place, std::uint32_t events);
  std::optional<std::string> follow(std::string path);
  void watch_bytes(const std::string& file);
  void watch_directory(const std::string& directory);

  std::string path_;
  std::size_t most_;
  Fd inotify_;
  std::map<int, Interest> interests_;  // by watch descriptor
  bool full_ = false;                  // no more watches to be had
  Result<void> outcome_;
};

}  // namespace sluice::proxy
