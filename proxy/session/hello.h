// Hears what an agent speaks, and whether its TLS names the host that was allowed, before a byte is
// passed on.
#pragma once

#include <optional>
#include <string>

#include "allowlists/host.h"
#include "proxy/session/session.h"
#include "proxy/wire/client_hello.h"
#include "proxy/wire/first_bytes.h"

namespace sluice::proxy {

// A ClientHello as the session's inbox holds it, or why there is none (not_tls, bad_request,
// deadline).
struct Heard {
  std::optional<wire::ClientHello> hello;
  Reason reason = Reason::deadline;
  std::string why;
  bool gone = false;  // the agent closed or broke off: nothing to answer
};

// Reads until the ClientHello is whole. Its bytes stay in the inbox. Arm the deadline before.
Task<Heard> hear_hello(Session& session);

// Reads until the agent's bytes can be told apart. unknown_yet: it went away, or the deadline,
// which the caller arms, has passed.
Task<wire::Speech> hear_speech(Session& session);

// What is wrong with a hello on a connection to `target`: sni_missing, sni_mismatch, ech_present,
// bad_host. A literal address can have no SNI (RFC 6066 3): there its absence, or the address's own
// text, is right.
std::optional<Reason> hello_fault(const wire::ClientHello& hello, const allowlists::Host& target,
                                  const allowlists::Decision& decision);

}  // namespace sluice::proxy
