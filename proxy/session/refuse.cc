#include "proxy/session/refuse.h"

#include "proxy/session/hello.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// A client that speaks first has spoken by then; one that waits is told by a reset.
constexpr auto moment = 250ms;

}  // namespace

Task<void> refuse_in_kind(Session& session, Visit& visit, Reason reason, std::string detail) {
  const wire::Refusal refusal = session.gate.refuse(visit, reason, std::move(detail));
  session.deadline.arm(moment);
  const wire::Speech speech = co_await hear_speech(session);
  switch (speech) {
    case wire::Speech::http: {
      std::size_t scanned = 0;
      const wire::HeadLimits limits = head_limits(session.worker.shared);
      const auto head = wire::parse_request_head(session.inbox.view(), limits, scanned);
      const wire::AsJson as_json = head && *head ? wire::wants_json(**head) : wire::AsJson::no;
      const std::string reply = wire::http_refusal(refusal, as_json, wire::KeepAlive::no);
      co_await session.say_and_close(reply);
      break;
    }
    case wire::Speech::tls: {
      const std::string alert = wire::tls_alert(refusal.reason);
      co_await session.say_and_close(alert);
      break;
    }
    case wire::Speech::unknown_yet:
    case wire::Speech::other:
      session.reset();
  }
}

}  // namespace sluice::proxy
