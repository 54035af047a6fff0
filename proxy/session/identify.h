// Finds out who sends a request on an explicit listener.
#pragma once

#include <memory>
#include <optional>

#include "proxy/session/session.h"
#include "proxy/wire/basic_auth.h"

namespace sluice::proxy {

struct Identified {
  std::shared_ptr<Agent> agent;            // whose account the request is in
  std::optional<Caller::Refused> refused;  // its `why` is for the account where auth_required
};

// By the request's Proxy-Authorization where the listener wants passwords, else by what accepting
// the connection told. Reads nothing from the connection: views into the inbox stay valid.
Task<Identified> identify(Session& session, const wire::RequestHead& head);
// By user name and password of the SOCKS client; for listeners that want them.
Task<Identified> identify(Session& session, wire::Credentials credentials);

}  // namespace sluice::proxy
