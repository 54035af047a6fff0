#include "proxy/session/identify.h"

#include <fmt/core.h>

#include "proxy/auth/password_verifier.h"

namespace sluice::proxy {
namespace {

// For the account: whoever reads it asks where such a caller is.
Identified nobody(const Session& session, Reason reason, std::string_view why) {
  return {
      session.caller.passwords->nobody,
      Caller::Refused{reason, fmt::format("{}, from {}", why, session.caller.from.to_string())}};
}

// Not for a session that is the agent's already.
bool is_full(const Session& session, const Agent& agent) {
  const unsigned most = session.worker.shared.limits.connections_per_agent;
  return most != 0 && std::cmp_greater_equal(agent.sessions.load(), most);
}

Identified known(const Session& session, const std::shared_ptr<Agent>& agent) {
  Identified who{agent, std::nullopt};
  if (agent != session.agent && is_full(session, *agent)) {
    who.refused = {Reason::connection_limit, "limits.connections_per_agent is reached"};
  }
  return who;
}

}  // namespace

Task<Identified> identify(Session& session, wire::Credentials credentials) {
  const Passwords& passwords = *session.caller.passwords;
  const auto agent = passwords.agents.find(credentials.user);
  const Proof proof = co_await passwords.verifier->verify(session.worker.io, std::move(credentials),
                                                          session.caller.from);
  switch (proof) {
    case Proof::right:
      if (agent != passwords.agents.end()) co_return known(session, agent->second);
      break;
    case Proof::wrong:
      break;
    case Proof::too_many_tries:
      co_return nobody(session, Reason::rate_limit, "too many wrong passwords");
    case Proof::busy:
      co_return nobody(session, Reason::rate_limit, "too many passwords wait to be verified");
  }
  // An unknown name may be a password in the wrong place: it is not kept.
  co_return nobody(session, Reason::auth_required,
                   agent == passwords.agents.end()
                       ? "unknown user name"
                       : fmt::format("wrong password for '{}'", agent->first));
}

Task<Identified> identify(Session& session, const wire::RequestHead& head) {
  if (!session.caller.passwords) {
    Identified who{session.agent, session.caller.refused};
    co_return who;
  }
  auto shown = wire::read_proxy_authorization(head);
  if (!shown) co_return nobody(session, shown.error().reason, shown.error().why);
  using Kind = wire::ProxyAuthorization::Kind;
  if (shown->kind != Kind::basic) {
    co_return nobody(session, Reason::auth_required,
                     shown->kind == Kind::none ? "no Proxy-Authorization"
                                               : "only the scheme Basic is spoken here");
  }
  co_return co_await identify(session, std::move(shown->credentials));
}

}  // namespace sluice::proxy
