// The tables of probes, one a kind of boundary.
#pragma once

#include <span>

#include "launcher/probes/probe.h"

namespace sluice::launcher::probes {

std::span<const Probe> network_probes();     // what leads to another machine
std::span<const Probe> socket_probes();      // what leads to another program of this one
std::span<const Probe> filesystem_probes();  // what would change mounts and files
std::span<const Probe> view_probes();        // what is there to be seen and written
std::span<const Probe> privilege_probes();
std::span<const Probe> process_probes();
std::span<const Probe> resource_probes();
std::span<const Probe> terminal_probes();

}  // namespace sluice::launcher::probes
