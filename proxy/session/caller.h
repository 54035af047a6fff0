// What accepting a connection on an explicit listener could tell of who speaks on it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"
#include "base/reason.h"
#include "proxy/session/front_link.h"
#include "proxy/session/waiting_room.h"

namespace sluice::proxy {

class Agent;
class PasswordVerifier;

// The name in the account of callers who are no known agent. No agent can have it.
inline constexpr std::string_view nobody_name = "(unidentified)";

// Who may show a password on a listener.
struct Passwords {
  std::map<std::string, std::shared_ptr<Agent>, std::less<>> agents;  // by user name
  PasswordVerifier* verifier = nullptr;
  std::shared_ptr<Agent> nobody;  // has the account until a password was shown
};

struct Caller {
  struct Refused {
    Reason reason = Reason::unknown_agent;
    std::string why;
  };

  // Whether whatever it asks for is the agent's that the session began with.
  bool is_settled() const noexcept { return !passwords && !refused; }

  IpAddress from;
  std::optional<Refused> refused;              // whatever it asks for
  std::shared_ptr<const Passwords> passwords;  // not null: every request must show one
  WaitingRoom::Place place;                    // as long as nobody knows who it is
  std::shared_ptr<FrontLink> link;             // null: no TLS in front
};

}  // namespace sluice::proxy
