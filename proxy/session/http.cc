// HTTP/1 requests on one connection: each is judged anew, re-serialised, and answered in order.
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <limits>

#include "proxy/session/exchange.h"
#include "proxy/session/identify.h"
#include "proxy/session/session.h"

namespace sluice::proxy {
namespace {

// What a request asks for, or why that cannot be said.
struct Wanted {
  std::optional<allowlists::Target> target;
  std::string origin_form;
  Reason reason = Reason::bad_request;
  std::string shown;
  std::string why;
};

Wanted not_wanted(Reason reason, std::string_view shown, std::string why) {
  return {.reason = reason, .shown = std::string(shown), .why = std::move(why)};
}

Wanted wanted_by_authority(std::string_view authority, std::optional<std::uint16_t> default_port,
                           std::string form) {
  auto target = allowlists::Target::parse(authority, default_port);
  if (!target) return not_wanted(Reason::bad_host, authority, target.error().why);
  return {.target = std::move(*target), .origin_form = std::move(form)};
}

Wanted wanted_by(const wire::RequestHead& head, const HttpMode& mode) {
  const bool origin_form =
      head.target.starts_with('/') || (head.target == "*" && head.method == "OPTIONS");
  if (mode.port && origin_form) {
    if (const auto host = head.find("Host")) {
      return wanted_by_authority(*host, *mode.port, std::string(head.target));
    }
    if (mode.fixed) return {.target = mode.fixed, .origin_form = std::string(head.target)};
    return not_wanted(Reason::bad_request, head.target, "the request names no host");
  }
  const auto absolute = wire::parse_absolute_form(head.target);
  if (!absolute) return not_wanted(absolute.error().reason, head.target, absolute.error().why);
  return wanted_by_authority(absolute->authority, 80, absolute->origin_form(head.method));
}

struct HeardRequest {
  std::optional<wire::RequestHead> head;
  bool refused = false;  // without a head: it was answered, and is in the account
};

// Reads up to a whole request head. Its views live in the inbox until the next read.
Task<HeardRequest> hear_request(Session& session, const HttpMode& mode, bool first) {
  std::size_t scanned = 0;
  const wire::HeadLimits limits = head_limits(session.worker.shared);
  const auto& timeouts = session.worker.shared.timeouts;
  bool begun = first || !session.inbox.empty();
  session.deadline.arm(begun ? timeouts.headers : timeouts.idle);
  for (;;) {
    auto head = wire::parse_request_head(session.inbox.view(), limits, scanned);
    if (!head) {
      Visit visit = session.gate.malformed(mode.via, "", head.error().reason);
      const auto refusal = session.gate.refuse(visit, head.error().reason, head.error().why);
      co_await session.say_and_close(
          wire::http_refusal(refusal, wire::AsJson::no, wire::KeepAlive::no));
      co_return HeardRequest{.head = std::nullopt, .refused = true};
    }
    if (*head) co_return HeardRequest{.head = std::move(**head)};
    const bool heard = co_await session.more();
    if (heard) {
      // Once for the whole head, not again for every byte of it (slowloris).
      if (!begun) session.deadline.arm(timeouts.headers);
      begun = true;
      continue;
    }
    const bool late = session.deadline.expired() && begun && !session.deadline.is_beyond();
    if (late) {
      Visit visit = session.gate.malformed(mode.via, "", Reason::deadline);
      const auto refusal = session.gate.refuse(visit, Reason::deadline, "no whole request head");
      co_await session.say_and_close(
          wire::http_refusal(refusal, wire::AsJson::no, wire::KeepAlive::no));
    }
    co_return HeardRequest{.head = std::nullopt, .refused = late};
  }
}

// Answers a request that was not sent on. True: the connection may go on with the next one.
Task<bool> refuse(Session& session, const wire::RequestHead& head, Visit& visit, std::string why) {
  const auto refusal = session.gate.refuse(visit, visit.reason(), std::move(why));
  const auto body = wire::request_body(head);
  const bool bodiless = body && (body->framing == wire::Framing::none || body->length == 0) &&
                        body->framing != wire::Framing::chunked;
  const bool policy = !is_failure(visit.reason()) && visit.reason() < Reason::bad_request;
  const wire::KeepAlive keep(bodiless && policy && head.keeps_alive());
  const wire::ForHead for_head(head.method == "HEAD");
  const std::string reply = wire::http_refusal(refusal, wire::wants_json(head), keep, for_head);
  if (!keep) {
    co_await session.say_and_close(reply);
    co_return false;
  }
  session.inbox.consume(head.size);
  co_return co_await session.say(reply);
}

// Answers a request of somebody who may not ask: nothing behind it is read as a request, and it is
// in the account with what it asked for.
Task<void> turn_away(Session& session, const wire::RequestHead& head, Caller::Refused refused) {
  const bool is_connect = head.method == "CONNECT";
  const metrics::Via via = is_connect ? metrics::Via::connect : metrics::Via::http;
  session.worker.shared.registry.connection(via);
  Visit visit = session.gate.malformed(via, head.target, refused.reason);
  visit.line.method = head.method;
  Wanted wanted =
      is_connect ? wanted_by_authority(head.target, std::nullopt, "") : wanted_by(head, HttpMode());
  if (wanted.target) {
    visit.line.host = wanted.target->host.to_string();
    visit.line.port = wanted.target->port;
    visit.line.path = std::move(wanted.origin_form);
  }
  auto refusal = session.gate.refuse(visit, refused.reason, std::move(refused.why));
  // Nobody is told whether it was the name or the password.
  if (refusal.reason == Reason::auth_required) refusal.detail.clear();
  const wire::ForHead for_head(head.method == "HEAD");
  const std::string reply =
      wire::http_refusal(refusal, wire::wants_json(head), wire::KeepAlive::no, for_head);
  co_await session.say_and_close(reply);
}

// Every request on an explicit listener is its sender's, whoever sent the one before. False: turned
// away.
Task<bool> admit(Session& session, const wire::RequestHead& head,
                 std::optional<Exchange>& exchange) {
  Identified who = co_await identify(session, head);
  if (who.agent != session.agent) {
    exchange.reset();  // with what it keeps of another agent's
    session.become(std::move(who.agent));
    exchange.emplace(session);
  }
  if (!who.refused) {
    session.caller.place.leave();
    co_return true;
  }
  co_await turn_away(session, head, std::move(*who.refused));
  co_return false;
}

// True: the connection may go on with the next request.
Task<bool> serve_request(Session& session, const HttpMode& mode, const wire::RequestHead& head,
                         Exchange& exchange) {
  Wanted wanted = wanted_by(head, mode);
  if (!wanted.target) {
    Visit visit = session.gate.malformed(mode.via, wanted.shown, wanted.reason);
    visit.line.method = head.method;
    co_return co_await refuse(session, head, visit, std::move(wanted.why));
  }
  const auto target = resolve_synthetic(*session.agent, *wanted.target);
  Visit visit = session.gate.ask(mode.via, target.value_or(*wanted.target));
  visit.line.method = head.method;
  visit.line.path = wanted.origin_form;
  const auto deny = [&](Reason reason) {
    visit.decision.verdict = Verdict::deny;
    visit.decision.reason = reason;
  };
  std::string why;
  if (!target) {
    deny(Reason::not_listed);
  } else if (mode.fixed && *target != *mode.fixed) {
    deny(Reason::host_mismatch);
    why = "the request names another host than the connection";
  } else if (mode.port && !mode.fixed && target->port != *mode.port) {
    deny(Reason::host_mismatch);
    why = "the request names another port than the connection";
  } else if (visit && visit.decision.tls == allowlists::TlsMode::require) {
    deny(Reason::not_tls);
    why = "plain HTTP on a port that must speak TLS";
  }
  if (!visit) co_return co_await refuse(session, head, visit, std::move(why));
  visit.spoken = Spoken::not_tls;
  const Carrying bytes(session, &visit);
  co_return co_await exchange.run(visit, head, *target, wanted.origin_form);
}

}  // namespace

Task<bool> serve_http(Session& session, HttpMode mode) {
  std::optional<Exchange> exchange(std::in_place, session);
  for (bool first = true;; first = false) {
    const HeardRequest heard = co_await hear_request(session, mode, first);
    if (!heard.head) co_return heard.refused || !first;
    const wire::RequestHead& head = *heard.head;
    session.deadline.disarm();
    if (!mode.port && !session.caller.is_settled()) {
      const bool admitted = co_await admit(session, head, exchange);
      if (!admitted) co_return true;
    }
    if (head.method == "CONNECT" && !mode.port) {
      co_await serve_connect(session, head);
      co_return true;
    }
    session.worker.shared.registry.connection(mode.via);
    const bool stays = co_await serve_request(session, mode, head, *exchange);
    if (stays) continue;
    // Input that nobody read would turn the close into a reset and take the response with it.
    if (session.socket.is_open() && !session.broken_off) co_await session.drain_and_close();
    co_return true;
  }
}

}  // namespace sluice::proxy
