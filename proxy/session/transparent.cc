// Connections that the namespace's route captured: the agent knows of no proxy, only of an address.
#include "allowlists/address_guard.h"
#include "proxy/session/hello.h"
#include "proxy/session/refuse.h"
#include "proxy/session/session.h"

namespace sluice::proxy {
namespace {

// Where TPROXY delivers; a connection to it by its own address was never captured.
constexpr std::uint16_t capture_port = 15001;
constexpr IpAddress capture_v4 = IpAddress::v4(0x7f7f7f7f);

bool is_listener_itself(const allowlists::Target& asked) {
  static const IpAddress loopback6 = *IpAddress::parse("::1");
  const IpAddress& address = asked.host.address();
  return asked.port == capture_port && (address == capture_v4 || address == loopback6);
}

// A literal address that no cidr rule opens may still lead to a name that an allow rule names: then
// the name is dialled, never the address the agent chose.
Task<void> serve_by_spoken_name(Session& session, const allowlists::Target& asked, Visit refused) {
  session.deadline.arm(session.worker.shared.timeouts.first_byte);
  const wire::Speech speech = co_await hear_speech(session);
  if (speech == wire::Speech::http) {
    HttpMode by_host{.via = metrics::Via::transparent, .fixed = std::nullopt, .port = asked.port};
    co_await serve_http(session, std::move(by_host));
    co_return;
  }
  if (speech == wire::Speech::tls) {
    const Heard heard = co_await hear_hello(session);
    if (heard.hello && heard.hello->server_name) {
      auto name = allowlists::Host::parse(*heard.hello->server_name);
      if (name && name->is_name()) {
        allowlists::Target target{std::move(*name), asked.port};
        auto visit =
            std::make_unique<Visit>(session.gate.ask(metrics::Via::transparent, std::move(target)));
        visit->line.sni = *heard.hello->server_name;
        if (!*visit) {
          co_await refuse_in_kind(session, *visit, visit->reason());
          co_return;
        }
        session.allowed = std::move(visit);
        co_return;
      }
    }
  }
  co_await refuse_in_kind(session, refused, refused.reason());
}

}  // namespace

Task<void> serve_transparent(Session& session) {
  ErrorCode error;
  const TcpEndpoint original = session.socket.local_endpoint(error);
  if (error) co_return;
  allowlists::Target asked{allowlists::Host::of(from_asio(original.address())), original.port()};
  if (is_listener_itself(asked)) {
    session.reset();
    co_return;
  }
  session.worker.shared.registry.connection(metrics::Via::transparent);
  const bool is_known = resolve_synthetic(*session.agent, asked);
  auto asked_for = std::make_unique<Visit>(session.gate.ask(metrics::Via::transparent, asked));
  Visit& visit = *asked_for;
  if (!is_known) {
    co_await refuse_in_kind(session, visit, Reason::not_listed, "no answer gave this address out");
    co_return;
  }
  if (visit) {
    session.allowed = std::move(asked_for);
  } else if (!asked.host.is_name() &&
             (visit.reason() == Reason::not_listed || visit.reason() == Reason::address_private)) {
    co_await serve_by_spoken_name(session, asked, std::move(visit));
  } else {
    co_await refuse_in_kind(session, visit, visit.reason());
  }
}

}  // namespace sluice::proxy
