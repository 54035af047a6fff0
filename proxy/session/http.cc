// HTTP/1 requests on one connection: each is judged anew, re-serialised, and answered in order.
#include "proxy/session/at_once.h"
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
      return wanted_by_authority(*host, mode.port, std::string(head.target));
    }
    if (mode.fixed) return {.target = mode.fixed, .origin_form = std::string(head.target)};
    return not_wanted(Reason::bad_request, head.target, "the request names no host");
  }
  const auto absolute = wire::parse_absolute_form(head.target);
  if (!absolute) return not_wanted(absolute.error().reason, head.target, absolute.error().why);
  return wanted_by_authority(absolute->authority, 80, absolute->origin_form(head.method));
}

// One request head that is waited for. Its views live in the inbox until the next read.
class Hearing {
 public:
  using Head = wire::WireResult<std::optional<wire::RequestHead>>;

  // Between two requests a connection may idle, and holds no more memory than one small read.
  Hearing(Session& session, const wire::HeadLimits& limits, bool first)
      : session_(session), limits_(limits), begun_(first || !session.inbox.empty()) {
    const auto& timeouts = session.worker.shared.timeouts;
    session.inbox.shrink();
    session.deadline.arm(begun_ ? timeouts.headers : timeouts.idle);
  }
  Head look() { return wire::parse_request_head(session_.inbox.view(), limits_, scanned_); }
  // Once for the whole head, not again for every byte of it (slowloris).
  void heard() noexcept {
    if (!begun_) session_.deadline.arm(session_.worker.shared.timeouts.headers);
    begun_ = true;
  }
  bool is_late() const noexcept {
    return begun_ && session_.deadline.expired() && !session_.deadline.is_beyond();
  }

 private:
  Session& session_;
  const wire::HeadLimits limits_;
  std::size_t scanned_ = 0;
  bool begun_;
};

// Answers what is no request, or half of one that came too late.
Task<void> refuse_bytes(Session& session, const HttpMode& mode, wire::WireError error) {
  Visit visit = session.gate.malformed(mode.via, "", error.reason);
  const auto refusal = session.gate.refuse(visit, error.reason, std::move(error.why));
  const std::string reply = wire::http_refusal(refusal, wire::AsJson::no, wire::KeepAlive::no);
  co_await session.say_and_close(reply);
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
  const std::size_t said = write_at_once(session.socket, reply);
  if (said == reply.size()) co_return true;
  co_return co_await session.say(std::string_view(reply).substr(said));
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

// Whether `target` may be asked for here, whatever the policy says of it. `why`: more than the
// reason says.
std::optional<Reason> misplaced(const HttpMode& mode, const allowlists::Target& target,
                                const Visit& visit, std::string& why) {
  if (mode.fixed && target != *mode.fixed) {
    why = "the request names another host than the connection";
    return Reason::host_mismatch;
  }
  if (mode.port && !mode.fixed && target.port != *mode.port) {
    why = "the request names another port than the connection";
    return Reason::host_mismatch;
  }
  if (visit && visit.decision.tls == allowlists::TlsMode::require) {
    why = "plain HTTP on a port that must speak TLS";
    return Reason::not_tls;
  }
  return std::nullopt;
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
  const bool known = resolve_synthetic(*session.agent, *wanted.target);
  Visit visit = session.gate.ask(mode.via, *wanted.target);
  visit.line.method = head.method;
  visit.line.path = std::move(wanted.origin_form);
  std::string why;
  const std::optional<Reason> no =
      known ? misplaced(mode, *wanted.target, visit, why) : Reason::not_listed;
  if (no) {
    visit.decision.verdict = Verdict::deny;
    visit.decision.reason = *no;
  }
  if (!visit) co_return co_await refuse(session, head, visit, std::move(why));
  visit.spoken = Spoken::not_tls;
  const Carrying bytes(session, &visit);
  co_return co_await exchange.run(visit, head, *wanted.target, visit.line.path);
}

}  // namespace

Task<bool> serve_http(Session& session, HttpMode mode) {
  std::optional<Exchange> exchange(std::in_place, session);
  for (bool first = true;; first = false) {
    Hearing hearing(session, head_limits(session.worker.shared), first);
    Hearing::Head heard = hearing.look();
    while (heard && !*heard) {
      const auto [error, size] = co_await session.socket.async_read_some(session.inbox.room());
      session.inbox.add(size);
      if (error && !hearing.is_late()) co_return !first;
      if (error) {
        heard = wire::wire_fail(Reason::deadline, "no whole request head");
        break;
      }
      hearing.heard();
      heard = hearing.look();
    }
    if (!heard) {
      co_await refuse_bytes(session, mode, std::move(heard.error()));
      co_return true;
    }
    const wire::RequestHead& head = **heard;
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
