// CONNECT (RFC 9110 9.3.6): no 2xx before the origin is connected, nothing read as a request after
// a no.
#include "proxy/session/session.h"

namespace sluice::proxy {
namespace {

constexpr std::string_view established = "HTTP/1.1 200 Connection Established\r\n\r\n";

// The parts of a request head that are needed after the inbox moved on.
struct Asked {
  wire::AsJson as_json = wire::AsJson::no;
};

Task<void> refuse(Session& session, Visit& visit, Reason reason, Asked asked,
                  std::string detail = {}) {
  const wire::Refusal refusal = session.gate.refuse(visit, reason, std::move(detail));
  const std::string reply = wire::http_refusal(refusal, asked.as_json, wire::KeepAlive::no);
  co_await session.say_and_close(reply);
}

// Not in the frame of serve_connect().
Task<void> refuse_target(Session& session, const wire::RequestHead& head, std::string why) {
  Visit visit = session.gate.malformed(metrics::Via::connect, head.target, Reason::bad_host);
  co_await refuse(session, visit, Reason::bad_host, {wire::wants_json(head)}, std::move(why));
}

}  // namespace

Task<void> serve_connect(Session& session, const wire::RequestHead& head) {
  session.worker.shared.registry.connection(metrics::Via::connect);
  const Asked asked{wire::wants_json(head)};
  auto target = allowlists::Target::parse(head.target, std::nullopt);
  if (!target) {
    co_await refuse_target(session, head, target.error().why);
    co_return;
  }
  const bool has_body = head.find("Content-Length") || head.find("Transfer-Encoding");
  const bool is_known = resolve_synthetic(*session.agent, *target);
  auto asked_for =
      std::make_unique<Visit>(session.gate.ask(metrics::Via::connect, std::move(*target)));
  Visit& visit = *asked_for;
  visit.line.method = "CONNECT";
  if (has_body) {
    co_await refuse(session, visit, Reason::bad_request, asked, "CONNECT has no body");
    co_return;
  }
  if (!is_known) {
    co_await refuse(session, visit, Reason::not_listed, asked, "no answer gave this address out");
    co_return;
  }
  if (!visit) {
    co_await refuse(session, visit, visit.reason(), asked);
    co_return;
  }
  session.inbox.consume(head.size);  // `head` still views the bytes: they move with the next read
  session.deadline.disarm();
  Dialled dialled = co_await session.gate.dial(visit, *visit.target);
  if (!dialled.connected) {
    co_await refuse(session, visit, dialled.reason, asked, std::move(dialled.why));
    co_return;
  }
  session.connect(std::move(dialled), visit);
  const bool said = co_await session.say(established);
  if (!said) {
    session.gate.close(visit);
    co_return;
  }
  session.allowed = std::move(asked_for);
}

}  // namespace sluice::proxy
