// `sluice run`: from options to a running agent.
#pragma once

#include <cstdint>

#include "launcher/options.h"

namespace sluice::launcher {

// What the sandbox is for.
enum class Purpose : std::uint8_t {
  command,  // the options' own
  proof,    // the battery of probes, which tells descriptor 1 (probes/proof.h)
};

// Answers the exit status (interface: 124-127, 128+n, else the command's own).
int run(const RunOptions& options, Purpose purpose = Purpose::command);

}  // namespace sluice::launcher
