// The only place where a denial or failure becomes an answer: one table for every protocol.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/reason.h"
#include "base/strong.h"
#include "proxy/wire/dns_message.h"
#include "proxy/wire/request_head.h"
#include "proxy/wire/socks.h"

namespace sluice::proxy::wire {

// What was refused, to whom and why. Views live as long as the call.
struct Refusal {
  Reason reason = Reason::internal;
  std::string_view agent;
  std::string
      target;  // "other.example:443", or what the agent spelled where nothing better is known
  std::string_view rule;  // "policy.yaml:31"; "" or "default" where no rule spoke
  std::string detail;     // a parser's or the dialer's `why`; may be empty
};

// One row of the table.
struct Answer {
  int http_status = 500;
  std::string_view proxy_status = "proxy_internal_error";  // RFC 9209 2.3
  SocksReply socks = SocksReply::general_failure;
  std::optional<std::uint8_t> tls_alert;  // RFC 8446 6.2; nothing: no alert, close
  DnsRcode dns = DnsRcode::server_failure;
};

// For any reason that is not an allowed one; those answer as `internal`.
const Answer& answer_for(Reason reason) noexcept;

// One sentence that a person or a model can act on: what was refused, (reason), what to do next.
// Everything an agent chose in it is printable.
std::string sentence(const Refusal& refusal);
void append_sentence(std::string& out, const Refusal& refusal);
// Room for most sentences, in bytes.
inline constexpr std::size_t usual_sentence = 384;

using AsJson = YesNo<struct AsJsonTag>;
using KeepAlive = YesNo<struct KeepAliveTag>;
using ForHead = YesNo<struct ForHeadTag>;

// Whether the client would rather read JSON: its Accept names a JSON type with a weight above 0.
AsJson wants_json(const RequestHead& head) noexcept;

// A whole HTTP/1.1 response. To a HEAD request: without its body. 408 never keeps alive. 407 names
// the one scheme that is spoken, Basic (RFC 9110 11.7.1, 15.5.8; RFC 7617 2.1), and may keep alive,
// so that a client asks again with credentials on the same connection: callers ask for it only
// behind a request whose end is known, and never after CONNECT.
std::string http_refusal(const Refusal& refusal, AsJson as_json, KeepAlive keep_alive,
                         ForHead for_head = ForHead::no);

// What sluice itself says to an allowed OPTIONS request whose Max-Forwards is 0: it is the last
// that may see it (RFC 9110 7.6.2, 9.3.7).
std::string http_options_answer(KeepAlive keep_alive);

// Ten bytes (RFC 1928 6).
std::string socks_refusal(Reason reason);

// The record of a fatal alert, as sent before any keys exist (RFC 8446 5.1, 6.2); empty where the
// table has none. access_denied (49) for denials, internal_error (80) for our own faults.
std::string tls_alert(Reason reason);

// NXDOMAIN, FORMERR or SERVFAIL, with the sentence as extended error where the table has one.
std::string dns_refusal(const DnsQuery& query, const Refusal& refusal, DnsTransport transport);

}  // namespace sluice::proxy::wire
