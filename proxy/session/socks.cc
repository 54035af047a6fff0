// SOCKS5 (RFC 1928): CONNECT with names and addresses; the other commands are refused.
#include <fmt/core.h>

#include "proxy/session/identify.h"
#include "proxy/session/session.h"

namespace sluice::proxy {
namespace {

Task<void> refuse(Session& session, Visit& visit, Reason reason, std::string detail = {}) {
  session.gate.refuse(visit, reason, std::move(detail));
  co_await session.say_and_close(wire::socks_refusal(reason));
}

Task<void> refuse_malformed(Session& session, std::string_view shown, Reason reason,
                            std::string why) {
  Visit visit = session.gate.malformed(metrics::Via::socks5, shown, reason);
  co_await refuse(session, visit, reason, std::move(why));
}

// The message that `parse` reads, taken from the inbox. Nothing: refused and answered, or the agent
// went away.
template <class Message>
Task<std::optional<Message>> hear(
    Session& session, wire::WireResult<std::optional<Message>> (*parse)(std::string_view)) {
  for (;;) {
    auto message = parse(session.inbox.view());
    if (!message) {
      co_await refuse_malformed(session, "SOCKS5", message.error().reason, message.error().why);
      co_return std::nullopt;
    }
    if (*message) {
      session.inbox.consume((*message)->size);
      co_return std::move(**message);
    }
    const bool more = co_await session.more();
    if (!more) co_return std::nullopt;
  }
}

Task<void> refuse_password(Session& session, Reason reason, std::string why) {
  Visit visit = session.gate.malformed(metrics::Via::socks5, "SOCKS5", reason);
  session.gate.refuse(visit, reason, std::move(why));
  co_await session.say_and_close(wire::socks_password_reply(wire::Accepted::no));
}

// RFC 1929. False: answered and closed, or the agent went away.
Task<bool> log_in(Session& session) {
  std::optional<wire::SocksPassword> shown;
  while (!shown) {
    auto message = wire::parse_socks_password(session.inbox.view());
    if (!message) {
      co_await refuse_password(session, message.error().reason, message.error().why);
      co_return false;
    }
    if (*message) {
      shown = std::move(*message);
      continue;
    }
    const bool more = co_await session.more();
    if (!more) co_return false;
  }
  session.inbox.consume(shown->size);
  session.deadline.disarm();  // the wait for the verifier is not the client's
  Identified who = co_await identify(session, std::move(shown->credentials));
  if (who.agent != session.agent) session.become(std::move(who.agent));
  if (who.refused) {
    co_await refuse_password(session, who.refused->reason, std::move(who.refused->why));
    co_return false;
  }
  session.caller.place.leave();
  session.deadline.arm(session.worker.shared.timeouts.headers);
  co_return co_await session.say(wire::socks_password_reply(wire::Accepted::yes));
}

// False: answered and closed, or the agent went away.
Task<bool> greet(Session& session) {
  const auto greeting = co_await hear(session, &wire::parse_socks_greeting);
  if (!greeting) co_return false;
  const bool wants_password = session.caller.passwords != nullptr;
  if (wants_password ? greeting->offers_password : greeting->offers_none) {
    const auto method = wants_password ? wire::SocksMethod::password : wire::SocksMethod::none;
    const bool said = co_await session.say(wire::socks_method_reply(method));
    if (!said || !wants_password) co_return said;
    co_return co_await log_in(session);
  }
  const Reason reason = wants_password ? Reason::auth_required : Reason::bad_request;
  Visit visit = session.gate.malformed(metrics::Via::socks5, "SOCKS5", reason);
  session.gate.refuse(visit, reason,
                      fmt::format("only '{}' is offered here",
                                  wants_password ? "user name and password" : "no authentication"));
  co_await session.say_and_close(wire::socks_method_reply(wire::SocksMethod::not_acceptable));
  co_return false;
}

// Nothing: refused and answered.
Task<std::optional<allowlists::Target>> target_of(Session& session,
                                                  const wire::SocksRequest& request) {
  const auto* name = std::get_if<std::string>(&request.host);
  const auto* address = std::get_if<IpAddress>(&request.host);
  const std::string shown = name != nullptr ? *name : address->to_string();
  if (!request.is(wire::SocksCommand::connect)) {
    Visit visit = session.gate.malformed(metrics::Via::socks5, shown, Reason::bad_request);
    session.gate.refuse(visit, Reason::bad_request, "only the command CONNECT is spoken here");
    co_await session.say_and_close(wire::socks_reply(wire::SocksReply::command_not_supported));
    co_return std::nullopt;
  }
  if (request.port == 0) {
    co_await refuse_malformed(session, shown, Reason::bad_request, "port 0 cannot be connected");
    co_return std::nullopt;
  }
  if (address != nullptr)
    co_return allowlists::Target{allowlists::Host::of(*address), request.port};
  auto host = allowlists::Host::parse(*name);
  if (!host) {
    co_await refuse_malformed(session, shown, Reason::bad_host, host.error().why);
    co_return std::nullopt;
  }
  co_return allowlists::Target{std::move(*host), request.port};
}

// Answers a request of somebody who may not ask, which is in the account with what it asked for.
Task<void> turn_away(Session& session, const wire::SocksRequest& request) {
  const Caller::Refused& refused = *session.caller.refused;
  const auto* name = std::get_if<std::string>(&request.host);
  const std::string shown = name != nullptr ? *name : std::get<IpAddress>(request.host).to_string();
  Visit visit = session.gate.malformed(metrics::Via::socks5, shown, refused.reason);
  visit.line.port = request.port;
  co_await refuse(session, visit, refused.reason, refused.why);
}

}  // namespace

Task<void> serve_socks(Session& session) {
  session.worker.shared.registry.connection(metrics::Via::socks5);
  const bool greeted = co_await greet(session);
  if (!greeted) co_return;
  const auto request = co_await hear(session, &wire::parse_socks_request);
  if (!request) co_return;
  if (session.caller.refused) {
    co_await turn_away(session, *request);
    co_return;
  }
  auto target = co_await target_of(session, *request);
  if (!target) co_return;
  const bool is_known = resolve_synthetic(*session.agent, *target);
  auto asked_for =
      std::make_unique<Visit>(session.gate.ask(metrics::Via::socks5, std::move(*target)));
  Visit& visit = *asked_for;
  if (!is_known || !visit) {
    co_await refuse(session, visit, is_known ? visit.reason() : Reason::not_listed);
    co_return;
  }
  session.deadline.disarm();
  Dialled dialled = co_await session.gate.dial(visit, *visit.target);
  if (!dialled.connected) {
    co_await refuse(session, visit, dialled.reason, std::move(dialled.why));
    co_return;
  }
  session.connect(std::move(dialled), visit);
  const bool said = co_await session.say(wire::socks_reply(wire::SocksReply::succeeded));
  if (!said) {
    session.gate.close(visit);
    co_return;
  }
  session.allowed = std::move(asked_for);
}

}  // namespace sluice::proxy
