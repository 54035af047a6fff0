// Explicit leases: registrations that sluiced keeps without a process of ours, until they are ended
// by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/handover.h"

namespace sluice::netns {

inline constexpr std::string_view default_proxy_socket = "/run/sluice/handover.sock";
// What --proxy said; else $SLUICE_HANDOVER, else the default.
std::string choose_proxy_socket(std::string_view given);

// A connection to the handover socket, non-blocking. Refused, absent, or too busy to accept: an
// error (Errc::unavailable) that names the socket.
Result<Fd> connect_proxy(const std::string& socket_path);

// Registers `sockets`, all of one namespace, as the agent's, with an explicit lease, and waits at
// most 5 s for the answer. Again with the namespace that has the lease: the same answer, and
// nothing changes. Refused (Errc::not_permitted) with what sluiced said: the name is taken, or not
// this user's to take, or a socket is not what its role says.
Result<Registered> take_lease(const std::string& proxy, const std::string& agent,
                              const std::vector<RoleSocket>& sockets);

// What the policy in force says of how the agent's sandbox is made: the text of a JSON object
// (Registered::sandbox). Waits at most 5 s. Refused (Errc::not_permitted): the name is not this
// user's to take.
Result<std::string> ask_sandbox(const std::string& proxy, const std::string& agent);

// Ends it, if it is for the namespace of this cookie: its listeners are closed, its tunnels broken
// off. Waits at most 5 s.
struct LeaseEnd {
  std::optional<Totals> totals;  // none: there was no such lease of this user's
  std::string why;               // then: what sluiced said, or that there is none
};
// An error: a sluiced is there that does not answer, and may still serve the agent.
Result<LeaseEnd> end_lease(const std::string& proxy, const std::string& agent,
                           std::uint64_t netns_cookie);

}  // namespace sluice::netns
