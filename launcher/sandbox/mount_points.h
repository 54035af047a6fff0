// Finds or makes the places that things are mounted on inside the new root.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"

namespace sluice::launcher {

using MakeMissing = YesNo<struct MakeMissingTag>;

enum class Shape : std::uint8_t { directory, file };

class MountPoints {
 public:
  // O_PATH. A missing one is made, parents included, where the place is writable for us (our own
  // tmpfs, a writable bind). A directory on the way that this id may not search is covered by an
  // empty shadow, so that what lies below it can be mounted without showing the rest.
  Result<Fd> open(const std::string& path, Shape shape, MakeMissing make);

  // An empty tmpfs on a directory, read-only after seal().
  Result<void> cover(const std::string& directory, mode_t mode);

  Result<void> seal();

 private:
  std::vector<Fd> shadows_;
};

// mkdir -p, mode 0755.
Result<void> make_directories(const std::string& path);

}  // namespace sluice::launcher
