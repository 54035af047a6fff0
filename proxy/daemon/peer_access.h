// Who may hand over agents, and which names each of them may take.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/daemon/config.h"

namespace sluice::proxy {

// Nobody could be told who it is: treated like a stranger.
inline constexpr uid_t nobody = static_cast<uid_t>(-1);

// Who connected, as the kernel noted it then (unix(7)).
struct Credentials {
  uid_t uid = nobody;         // SO_PEERCRED
  std::vector<gid_t> groups;  // the primary one of SO_PEERCRED, and SO_PEERGROUPS
};
Credentials credentials_of(int socket);

// Root and sluiced's own user: whoever else could ask for all listeners could read what agents say.
bool may_take_over(uid_t uid) noexcept;

// getpwnam(3), getgrnam(3), getpwuid(3): none where there is no such entry.
std::optional<uid_t> user_id(const std::string& name);
std::optional<gid_t> group_id(const std::string& name);
std::optional<std::string> user_name(uid_t uid);

// An agent's name in which any part may be `*` or `${user}`.
bool is_name_pattern(std::string_view pattern);

// Globs of agent names.
using Grant = std::vector<std::string>;
bool covers(const Grant& grant, std::string_view agent) noexcept;

class PeerAccess {
 public:
  // Sluiced's own user and root, any name.
  PeerAccess() = default;
  // None: as the default.
  explicit PeerAccess(std::optional<std::vector<Config::Peer>> lines) : lines_(std::move(lines)) {}

  // What all lines that admit this peer give it together; empty: it may hand over nothing.
  Grant names_for(const Credentials& peer) const;
  // Why a peer without a grant has none.
  std::string refusal(uid_t uid) const;

 private:
  std::optional<std::vector<Config::Peer>> lines_;
};

}  // namespace sluice::proxy
