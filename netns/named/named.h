// Makes and removes agent networks that have a name in /run/netns and an explicit lease.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "netns/named/lease.h"
#include "netns/named/state.h"

namespace sluice::netns {

struct NamedOrder {
  std::string name;
  std::string agent;
  std::string proxy;  // handover socket
};

enum class Creation : std::uint8_t { made, was_there, served_again };
// Killed at whatever point, it leaves nothing, or a state file from which collect_garbage() finds
// the rest. Any step that fails removes what the earlier ones made. Needs root.
Result<Creation> create_named(const StateFolder& folder, const NamedOrder& order);

// Nothing when there is none by that name. A namespace that somebody else named is not touched:
// Errc::not_permitted.
Result<std::optional<LeaseEnd>> delete_named(const StateFolder& folder, const std::string& name);

// The namespace of a named network, which is there and complete.
Result<Fd> open_named(const StateFolder& folder, const std::string& name);

}  // namespace sluice::netns
