// Finds or makes the places that things are mounted on inside the new root.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"

namespace sluice::launcher {

using MakeMissing = YesNo<struct MakeMissingTag>;

enum class Shape : std::uint8_t { directory, file };

// What a path leads to.
struct Place {
  Fd found;             // O_PATH; not open: `error` says why
  Fd directory;         // the last one that was reached, where there is an error
  std::string stopped;  // the entry of it that could not be opened or made
  int error = 0;        // errno; ELOOP: a symbolic link that is not followed
};

struct Walk {
  std::string path;
  std::vector<std::uint64_t> without_links{};  // mount ids
  std::optional<Shape> make{};                 // what is missing, parents included
};

// Entry by entry from '/'. Symbolic links are followed until the walk enters a mount that is
// trusted with none.
Place walk(const Walk& order);

class MountPoints {
 public:
  // O_PATH. A missing one is made, parents included, where the place is writable for us (our own
  // tmpfs, a writable bind). A directory on the way that this id may not search is covered by an
  // empty shadow, so that what lies below it can be mounted without showing the rest.
  Result<Fd> open(const std::string& path, Shape shape, MakeMissing make);

  // What is below a bind may have been put there by an agent of an earlier run, who would choose
  // with a symbolic link what a later run mounts over: from here on open() refuses one in `mount`.
  Result<void> refuse_links_in(int mount);

  // An empty tmpfs on a directory, read-only after seal().
  Result<void> cover(int directory, mode_t mode);

  Result<void> seal();

 private:
  Result<Place> find(const std::string& path, Shape shape, MakeMissing make);

  std::vector<Fd> shadows_;
  std::vector<std::uint64_t> without_links_;
};

// Whether a place is the root directory, over which nothing can be mounted.
bool is_root_directory(int place);

// mkdir -p, mode 0755.
Result<void> make_directories(const std::string& path);

}  // namespace sluice::launcher
