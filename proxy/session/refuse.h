// Tells an agent whose protocol nobody announced that it was refused, in the protocol it speaks.
#pragma once

#include <string>

#include "proxy/session/session.h"

namespace sluice::proxy {

// Writes the account (Gate::refuse), then answers and ends the connection: HTTP with a sentence,
// TLS with an alert, anything else, or an agent that has not spoken within a moment, with a reset.
Task<void> refuse_in_kind(Session& session, Visit& visit, Reason reason, std::string detail = {});

}  // namespace sluice::proxy
