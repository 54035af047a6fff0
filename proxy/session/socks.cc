// SOCKS5 (RFC 1928): CONNECT with names and addresses; the other commands are refused.
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

// False: answered and closed, or the agent went away.
Task<bool> greet(Session& session) {
  for (;;) {
    const auto greeting = wire::parse_socks_greeting(session.inbox.view());
    if (!greeting) {
      co_await refuse_malformed(session, "SOCKS5", greeting.error().reason, greeting.error().why);
      co_return false;
    }
    if (*greeting) {
      session.inbox.consume((*greeting)->size);
      if ((*greeting)->offers_none) {
        co_return co_await session.say(wire::socks_method_reply(wire::SocksMethod::none));
      }
      Visit visit = session.gate.malformed(metrics::Via::socks5, "SOCKS5", Reason::bad_request);
      session.gate.refuse(visit, Reason::bad_request, "only 'no authentication' is offered here");
      co_await session.say_and_close(wire::socks_method_reply(wire::SocksMethod::not_acceptable));
      co_return false;
    }
    if (!co_await session.more()) co_return false;
  }
}

Task<std::optional<wire::SocksRequest>> hear_request(Session& session) {
  for (;;) {
    auto request = wire::parse_socks_request(session.inbox.view());
    if (!request) {
      co_await refuse_malformed(session, "SOCKS5", request.error().reason, request.error().why);
      co_return std::nullopt;
    }
    if (*request) {
      session.inbox.consume((*request)->size);
      co_return std::move(**request);
    }
    if (!co_await session.more()) co_return std::nullopt;
  }
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

}  // namespace

Task<void> serve_socks(Session& session) {
  session.worker.shared.registry.connection(metrics::Via::socks5);
  if (!co_await greet(session)) co_return;
  const auto request = co_await hear_request(session);
  if (!request) co_return;
  const auto target = co_await target_of(session, *request);
  if (!target) co_return;
  const auto resolved = resolve_synthetic(*session.agent, *target);
  Visit visit = session.gate.ask(metrics::Via::socks5, resolved.value_or(*target));
  if (!resolved || !visit) {
    co_await refuse(session, visit, resolved ? visit.reason() : Reason::not_listed);
    co_return;
  }
  session.deadline.disarm();
  Dialled dialled = co_await session.gate.dial(visit, *resolved);
  if (!dialled.connected) {
    co_await refuse(session, visit, dialled.reason, std::move(dialled.why));
    co_return;
  }
  session.connect(std::move(dialled), visit);
  if (!co_await session.say(wire::socks_reply(wire::SocksReply::succeeded))) {
    session.gate.close(visit);
    co_return;
  }
  HttpMode inside{.via = metrics::Via::socks5, .fixed = *resolved, .port = resolved->port};
  Carry what{visit, *resolved, std::move(inside)};
  co_await carry(session, std::move(what));
}

}  // namespace sluice::proxy
