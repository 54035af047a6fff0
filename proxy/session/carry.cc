// What an agent says on a connection to an allowed target: checked, dialled, relayed.
#include "proxy/session/hello.h"
#include "proxy/session/refuse.h"
#include "proxy/session/relay.h"

namespace sluice::proxy {
namespace {

void note_end(Visit& visit, metrics::TunnelEnd end) {
  if (end == metrics::TunnelEnd::lifetime)
    visit.line.error = "the connection reached the end of its life";
}

// Dials unless an entrance did so already. False: refused and answered.
Task<bool> have_origin(Session& session, Visit& visit) {
  if (session.origin.is_open()) co_return true;
  Dialled dialled = co_await session.gate.dial(visit, *visit.target);
  if (!dialled.connected) {
    co_await refuse_in_kind(session, visit, dialled.reason, std::move(dialled.why));
    co_return false;
  }
  if (session.broken_off) {
    session.gate.close(visit);
    co_return false;
  }
  session.connect(std::move(dialled), visit);
  co_return true;
}

// Why a ClientHello may not pass.
struct Fault {
  Reason reason = Reason::deadline;
  std::string why;
  bool gone = false;  // the agent left before it said what it wanted: allowed and unused
};

Task<std::optional<Fault>> hello_fault_of(Session& session, Visit& visit) {
  session.deadline.arm(session.worker.shared.timeouts.first_byte);
  Heard heard = co_await hear_hello(session);
  if (!heard.hello) co_return Fault{heard.reason, std::move(heard.why), heard.gone};
  visit.line.sni = heard.hello->server_name.value_or("");
  const auto fault = hello_fault(*heard.hello, visit.target->host, visit.decision);
  if (fault) co_return Fault{.reason = *fault};
  // What began as plain HTTP (an upgrade) stays that.
  if (visit.spoken == Spoken::unknown) {
    visit.spoken = heard.hello->ech_offered ? Spoken::tls_with_ech : Spoken::tls;
  }
  co_return std::nullopt;
}

// The agent can still be told.
Task<void> refuse_hello(Session& session, Visit& visit, Fault fault) {
  if (fault.gone) {
    session.gate.close(visit);
    co_return;
  }
  co_await refuse_in_kind(session, visit, fault.reason, std::move(fault.why));
}

// Between the origin's bytes to the agent an alert would mean nothing: an end without a word.
void cut(Session& session) noexcept {
  session.reset();
  ErrorCode ignored;
  session.origin.close(ignored);
}

// The tunnel has ended: its line in the account is of that, or of the denial.
void settle(Session& session, Visit& visit, Relay& relay, std::optional<Fault> fault = {}) {
  note_end(visit, relay.conclude());
  visit.line.bytes_up += relay.moved_up();
  visit.line.bytes_down += relay.moved_down();
  if (fault && !fault->gone) {
    session.gate.refuse(visit, fault->reason, std::move(fault->why));
  } else {
    session.gate.close(visit);
  }
}

// For an agent to whom the origin spoke first: its own first bytes are held until they are known
// not to be TLS for somebody else. `spoke`: they have come.
Task<void> check_late(Session& session, Visit& visit, Relay& relay, bool spoke) {
  std::optional<Fault> fault;
  if (spoke && session.inbox.view().front() == '\x16') {
    fault = co_await hello_fault_of(session, visit);
  } else if (spoke) {
    visit.spoken = Spoken::not_tls;
  }
  if (!spoke) {
    relay.end_up();
  } else if (fault) {
    cut(session);
  } else {
    relay.start_up();
  }
  if (relay.is_running()) co_await relay.lanes_end();
  settle(session, visit, relay, std::move(fault));
}

// Each request is a visit of its own. What led to them has its own line only where the agent asked
// for it apart, or where no request came of it.
Task<void> carry_http(Session& session, Visit& visit) {
  const bool asked_apart = visit.line.via != metrics::Via::transparent;
  HttpMode inside{.via = visit.line.via, .fixed = visit.target, .port = visit.target->port};
  if (asked_apart) session.gate.close(visit);
  const Carrying nothing(session, nullptr);
  const bool has_lines = co_await serve_http(session, std::move(inside));
  if (!has_lines && !asked_apart) session.gate.close(visit);
}

enum class Inside : std::uint8_t { tunnel, http, over };

// What the agent, which spoke before the origin, speaks. Over: it was refused and answered.
Task<Inside> check_first(Session& session, Visit& visit, Relay& relay) {
  session.deadline.arm(session.worker.shared.timeouts.first_byte);
  const wire::Speech speech = co_await hear_speech(session);
  if (speech == wire::Speech::http) {
    relay.stop_down();
    if (relay.is_running()) co_await relay.lanes_end();
    co_return Inside::http;
  }
  if (speech == wire::Speech::other) visit.spoken = Spoken::not_tls;
  std::optional<Fault> fault;
  if (speech == wire::Speech::tls) {
    fault = co_await hello_fault_of(session, visit);
  } else if (speech == wire::Speech::unknown_yet && session.deadline.expired()) {
    fault = Fault{Reason::deadline, "the first bytes came too slowly"};
  }  // Else it closed its side: what it said is all there is.
  if (!fault) co_return Inside::tunnel;
  relay.stop_down();
  if (relay.is_running()) co_await relay.lanes_end();
  co_await refuse_hello(session, visit, std::move(*fault));
  co_return Inside::over;
}

// `tls: match`: any protocol, but TLS only for the host that was allowed, and HTTP request by
// request.
Task<void> carry_matching(Session& session, Visit& visit) {
  Relay relay(session);
  relay.start_down(nullptr);
  bool spoke = !session.inbox.empty();
  if (!spoke) spoke = co_await session.more();
  if (relay.origin_acted()) {
    co_await check_late(session, visit, relay, spoke);
    co_return;
  }
  relay.hold_down();
  if (!spoke && (session.deadline.expired() || session.broken_off)) {
    relay.stop_down();
    if (relay.is_running()) co_await relay.lanes_end();
    session.gate.close(visit);
    co_return;
  }
  // Having closed its side without a word, it may still listen; and Asio does not tell of an end of
  // file twice.
  Inside inside = Inside::tunnel;
  if (spoke) inside = co_await check_first(session, visit, relay);
  switch (inside) {
    case Inside::over:
      break;
    case Inside::http:
      co_await carry_http(session, visit);
      break;
    case Inside::tunnel:
      relay.start_up();
      relay.resume_down();
      if (relay.is_running()) co_await relay.lanes_end();
      settle(session, visit, relay);
  }
}

Task<void> carry_as_allowed(Session& session, Visit& visit, Inbox* early) {
  Relay relay(session);
  relay.start_down(early);
  relay.start_up();
  if (relay.is_running()) co_await relay.lanes_end();
  settle(session, visit, relay);
}

}  // namespace

Task<void> carry(Session& session) {
  Visit& visit = *session.allowed;
  const IpAddress* address = session.connected ? &session.connected->address : nullptr;
  if (!session.gate.still_allows(visit, address)) {
    co_await refuse_in_kind(session, visit, Reason::policy_changed, visit.line.error);
    co_return;
  }
  const Carrying bytes(session, &visit);
  if (visit.decision.tls == allowlists::TlsMode::require) {
    auto fault = co_await hello_fault_of(session, visit);
    if (fault) {
      co_await refuse_hello(session, visit, std::move(*fault));
      co_return;
    }
  }
  const bool has_origin = co_await have_origin(session, visit);
  if (!has_origin) co_return;
  if (visit.decision.tls == allowlists::TlsMode::match) {
    co_await carry_matching(session, visit);
  } else {
    co_await carry_as_allowed(session, visit, nullptr);
  }
}

Task<void> carry_upgraded(Session& session, Visit& visit, Inbox& early) {
  if (visit.decision.tls != allowlists::TlsMode::match) {
    co_await carry_as_allowed(session, visit, &early);
    co_return;
  }
  Relay relay(session);
  relay.start_down(&early);
  bool spoke = !session.inbox.empty();
  if (!spoke) spoke = co_await session.more();
  co_await check_late(session, visit, relay, spoke);
}

}  // namespace sluice::proxy
