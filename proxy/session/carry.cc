// What an agent says on a connection to an allowed target: checked, dialled, relayed.
#include <boost/asio/experimental/awaitable_operators.hpp>

#include "proxy/session/hello.h"
#include "proxy/session/refuse.h"
#include "proxy/session/relay.h"

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

// Counts an open tunnel for as long as it lives.
class OpenTunnel {
 public:
  explicit OpenTunnel(metrics::AgentMetrics& counts) : counts_(counts) { counts_.tunnel_opened(); }
  ~OpenTunnel() { counts_.tunnel_closed(end); }
  OpenTunnel(const OpenTunnel&) = delete;
  OpenTunnel& operator=(const OpenTunnel&) = delete;
  metrics::TunnelEnd end = metrics::TunnelEnd::internal;

 private:
  metrics::AgentMetrics& counts_;
};

void note_end(Visit& visit, metrics::TunnelEnd end) {
  if (end == metrics::TunnelEnd::lifetime)
    visit.line.error = "the connection reached the end of its life";
}

Task<void> relay_visit(Session& session, Visit& visit, Traffic& traffic, Task<Ended> up) {
  {
    OpenTunnel tunnel(*session.agent->metrics);
    tunnel.end = co_await relay(session, traffic, std::move(up));
    note_end(visit, tunnel.end);
  }
  visit.line.bytes_up = traffic.up;
  visit.line.bytes_down = traffic.down;
  session.gate.close(visit);
}

// Dials unless an entrance did so already. False: refused and answered.
Task<bool> have_origin(Session& session, Carry& what) {
  if (session.origin.is_open()) co_return true;
  Dialled dialled = co_await session.gate.dial(what.visit, what.target);
  if (!dialled.connected) {
    co_await refuse_in_kind(session, what.visit, dialled.reason, std::move(dialled.why));
    co_return false;
  }
  if (session.broken_off) {
    session.gate.close(what.visit);
    co_return false;
  }
  session.connect(std::move(dialled), what.visit);
  co_return true;
}

// Why a ClientHello may not pass.
struct Fault {
  Reason reason = Reason::deadline;
  std::string why;
  bool gone = false;  // the agent left before it said what it wanted: allowed and unused
};

Task<std::optional<Fault>> hello_fault_of(Session& session, Carry& what) {
  session.deadline.arm(session.worker.shared.timeouts.first_byte);
  Heard heard = co_await hear_hello(session);
  if (!heard.hello) co_return Fault{heard.reason, std::move(heard.why), heard.gone};
  what.visit.line.sni = heard.hello->server_name.value_or("");
  const auto fault = hello_fault(*heard.hello, what.target.host, what.visit.decision);
  if (fault) co_return Fault{.reason = *fault};
  // What began as plain HTTP (an upgrade) stays that.
  if (what.visit.spoken == Spoken::unknown) {
    what.visit.spoken = heard.hello->ech_offered ? Spoken::tls_with_ech : Spoken::tls;
  }
  co_return std::nullopt;
}

// False: refused and answered, or the agent went away.
Task<bool> hello_is_right(Session& session, Carry& what) {
  auto fault = co_await hello_fault_of(session, what);
  if (!fault) co_return true;
  if (fault->gone) {
    session.gate.close(what.visit);
  } else {
    co_await refuse_in_kind(session, what.visit, fault->reason, std::move(fault->why));
  }
  co_return false;
}

// For an agent that waits for the origin to speak first: its own first bytes are held until they
// are known not to be TLS for somebody else. A `fault` ends the tunnel without a word: the other
// direction is writing to the agent, and an alert between its bytes would mean nothing.
Task<Ended> check_then_carry_up(Session& session, Carry& what, std::uint64_t& moved,
                                std::optional<Fault>& fault) {
  if (session.inbox.empty()) {
    const bool spoke = co_await session.more();
    if (!spoke) {
      ErrorCode ignored;
      session.origin.shutdown(Socket::shutdown_send, ignored);
      co_return session.deadline.expired() || session.broken_off ? Ended::agent_broke : Ended::done;
    }
  }
  if (session.inbox.view().front() == '\x16') {
    fault = co_await hello_fault_of(session, what);
    if (fault) {
      session.reset();
      ErrorCode ignored;
      session.origin.close(ignored);
      co_return Ended::agent_broke;
    }
    session.deadline.arm(session.worker.shared.timeouts.idle);
  } else {
    what.visit.spoken = Spoken::not_tls;
  }
  co_return co_await carry_up(session, moved);
}

// The tunnel of check_then_carry_up(), with one line in the account: of its end, or of the denial.
Task<void> relay_checked(Session& session, Carry& what, Traffic traffic = {}) {
  std::optional<Fault> fault;
  {
    OpenTunnel tunnel(*session.agent->metrics);
    tunnel.end =
        co_await relay(session, traffic, check_then_carry_up(session, what, traffic.up, fault));
    note_end(what.visit, tunnel.end);
  }
  what.visit.line.bytes_up = traffic.up;
  what.visit.line.bytes_down = traffic.down;
  if (fault && !fault->gone) {
    session.gate.refuse(what.visit, fault->reason, std::move(fault->why));
  } else {
    session.gate.close(what.visit);
  }
}

enum class FirstSpeaker : std::uint8_t { agent, origin, nobody };

// Waits until one side has something to say, without taking a byte.
Task<FirstSpeaker> first_speaker(Session& session) {
  if (!session.inbox.empty()) co_return FirstSpeaker::agent;
  session.deadline.arm(session.worker.shared.timeouts.idle);
  const auto first = co_await (session.socket.async_wait(Socket::wait_read) ||
                               session.origin.async_wait(Socket::wait_read));
  if (session.deadline.expired() || session.broken_off) co_return FirstSpeaker::nobody;
  co_return first.index() == 0 ? FirstSpeaker::agent : FirstSpeaker::origin;
}

// Each request is a visit of its own. What led to them has its own line only where the agent asked
// for it apart, or where no request came of it.
Task<void> carry_http(Session& session, Carry& what) {
  const bool asked_apart = what.http.via != metrics::Via::transparent;
  if (asked_apart) session.gate.close(what.visit);
  const Carrying nothing(session, nullptr);
  const bool has_lines = co_await serve_http(session, std::move(what.http));
  if (!has_lines && !asked_apart) session.gate.close(what.visit);
}

// `tls: match`: any protocol, but TLS only for the host that was allowed, and HTTP request by
// request.
Task<void> carry_matching(Session& session, Carry& what) {
  if (!co_await have_origin(session, what)) co_return;
  Traffic traffic;
  switch (co_await first_speaker(session)) {
    case FirstSpeaker::nobody:
      session.gate.close(what.visit);
      co_return;
    case FirstSpeaker::origin:
      co_await relay_checked(session, what);
      co_return;
    case FirstSpeaker::agent:
      break;
  }
  session.deadline.arm(session.worker.shared.timeouts.first_byte);
  switch (co_await hear_speech(session)) {
    case wire::Speech::tls:
      if (!co_await hello_is_right(session, what)) co_return;
      break;
    case wire::Speech::http:
      co_await carry_http(session, what);
      co_return;
    case wire::Speech::unknown_yet:
      if (session.deadline.expired()) {
        co_await refuse_in_kind(session, what.visit, Reason::deadline,
                                "the first bytes came too slowly");
        co_return;
      }
      break;  // it closed its side: what it said is all there is
    case wire::Speech::other:
      what.visit.spoken = Spoken::not_tls;
      break;
  }
  co_await relay_visit(session, what.visit, traffic, carry_up(session, traffic.up));
}

}  // namespace

Task<void> carry(Session& session, Carry what) {
  const IpAddress* address = session.connected ? &session.connected->address : nullptr;
  if (!session.gate.still_allows(what.visit, address)) {
    co_await refuse_in_kind(session, what.visit, Reason::policy_changed, what.visit.line.error);
    co_return;
  }
  const Carrying bytes(session, &what.visit);
  if (what.visit.decision.tls == allowlists::TlsMode::match) {
    co_await carry_matching(session, what);
    co_return;
  }
  if (what.visit.decision.tls == allowlists::TlsMode::require) {
    if (!co_await hello_is_right(session, what)) co_return;
  }
  if (!co_await have_origin(session, what)) co_return;
  Traffic traffic;
  co_await relay_visit(session, what.visit, traffic, carry_up(session, traffic.up));
}

Task<void> carry_upgraded(Session& session, Visit& visit, Inbox& early) {
  Traffic traffic{visit.line.bytes_up, visit.line.bytes_down, &early};
  if (visit.decision.tls == allowlists::TlsMode::match) {
    Carry what{visit, *visit.target, {}};
    co_await relay_checked(session, what, traffic);
    co_return;
  }
  co_await relay_visit(session, visit, traffic, carry_up(session, traffic.up));
}

}  // namespace sluice::proxy
