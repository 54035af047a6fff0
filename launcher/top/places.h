// Which sluiceds a person may ask, and what all of them say at one moment.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/top/sample.h"

namespace sluice::launcher {

// Lines and hosts that one look asks for.
inline constexpr std::size_t most_shown = 100;

struct Places {
  std::string runtime_directory;      // of this user's own runs
  std::optional<std::string> socket;  // of the only sluiced to ask; an error when it is silent
};

// Asks the sluiceds of this user's runs and the machine's, all at the same time: up to a hundred
// that hang cost five seconds together. One that does not answer is a note that names it; one that
// this user may not ask is none of his, and passed over unless nobody else is there.
Result<Sample> look(const Places& places);

}  // namespace sluice::launcher
