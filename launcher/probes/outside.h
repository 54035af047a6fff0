// What of the machine a probe must not find inside: looked at before there is a sandbox.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launcher/plan/machine.h"

namespace sluice::launcher {

struct Outside {
  std::vector<std::string> namespaces;  // the caller's own, as namespaces(7) spells them
  std::vector<std::string> sockets;     // bound Unix sockets: a path, or '@' and an abstract name
  std::vector<std::string> addresses;   // literal, of other machines and of this one
};

// "net:[4026531840]" and so on, one for each kind that this kernel has.
std::vector<std::string> own_namespaces();

// Everything there is to look for; `machine` knows the sockets that have a path.
Outside look_outside(const Machine& machine);

// The abstract names of a /proc/net/unix, each with its '@'; spaces belong to the name.
std::vector<std::string> abstract_names(std::string_view proc_net_unix);

}  // namespace sluice::launcher
