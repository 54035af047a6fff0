// The short battery: what the agent's own process tries just before its command replaces it.
#pragma once

#include <string_view>

#include "base/error.h"
#include "launcher/probes/probe.h"

namespace sluice::launcher::probes {

// How the sentence of such an error begins.
inline constexpr std::string_view leak_found = "the sandbox leaks: ";

// Runs every probe that is for before_exec in the calling process, which has given up everything
// already. An error names the first that was not held, and what it reached; the process must then
// end.
Result<void> check_before_exec(const Bounds& bounds);

}  // namespace sluice::launcher::probes
