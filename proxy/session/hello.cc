#include "proxy/session/hello.h"

#include "proxy/wire/wire_error.h"

namespace sluice::proxy {

Task<Heard> hear_hello(Session& session) {
  wire::ClientHelloReader reader;
  std::size_t seen = 0;
  for (;;) {
    const auto fresh = wire::as_octets(session.inbox.view().substr(seen));
    seen += fresh.size();
    switch (reader.feed(fresh)) {
      case wire::ClientHelloReader::Status::done:
        co_return Heard{.hello = reader.hello()};
      case wire::ClientHelloReader::Status::not_tls:
        co_return Heard{.reason = Reason::not_tls, .why = std::string(reader.why())};
      case wire::ClientHelloReader::Status::bad:
        co_return Heard{.reason = Reason::bad_request, .why = std::string(reader.why())};
      case wire::ClientHelloReader::Status::need_more:
        break;
    }
    const bool more = co_await session.more();
    if (!more) {
      const bool late = session.deadline.expired();
      co_return Heard{.reason = Reason::deadline, .why = "no whole ClientHello", .gone = !late};
    }
  }
}

Task<wire::Speech> hear_speech(Session& session) {
  for (;;) {
    const wire::Speech speech = wire::classify(session.inbox.view());
    if (speech != wire::Speech::unknown_yet) co_return speech;
    const bool more = co_await session.more();
    if (!more) co_return speech;
  }
}

std::optional<Reason> hello_fault(const wire::ClientHello& hello, const allowlists::Host& target,
                                  const allowlists::Decision& decision) {
  if (hello.ech_offered && decision.refuse_ech) return Reason::ech_present;
  if (!hello.server_name) {
    if (target.is_name()) return Reason::sni_missing;
    return std::nullopt;
  }
  const auto named = allowlists::Host::parse(*hello.server_name);
  if (!named) return Reason::bad_host;
  if (*named != target) return Reason::sni_mismatch;
  return std::nullopt;
}

}  // namespace sluice::proxy
