#include "proxy/wire/reply.h"

#include "base/text.h"
#include "proxy/wire/date.h"

namespace sluice::proxy::wire {
namespace {

constexpr std::size_t usual_head = 320;  // of a refusal, in bytes

constexpr std::uint8_t access_denied = 49;
constexpr std::uint8_t internal_error = 80;

constexpr Answer by_policy{403, "http_request_denied", SocksReply::not_allowed, access_denied,
                           DnsRcode::name_error};
constexpr Answer by_address{403, "destination_ip_prohibited", SocksReply::not_allowed,
                            access_denied, DnsRcode::server_failure};
constexpr Answer by_form{400, "http_request_error", SocksReply::not_allowed, access_denied,
                         DnsRcode::format_error};
constexpr Answer by_limit{429, "connection_limit_reached", SocksReply::not_allowed, access_denied,
                          DnsRcode::server_failure};

constexpr Answer ours(int status, std::string_view error) {
  return {status, error, SocksReply::general_failure, internal_error, DnsRcode::server_failure};
}
constexpr Answer failed(int status, std::string_view error, SocksReply socks) {
  return {status, error, socks, std::nullopt, DnsRcode::server_failure};
}

// In the order of Reason.
constexpr std::array<Answer, reason_count> table = {
    ours(500, "proxy_internal_error"),                                       // listed
    ours(500, "proxy_internal_error"),                                       // listed_cidr
    ours(500, "proxy_internal_error"),                                       // reported
    by_policy,                                                               // not_listed
    by_policy,                                                               // denied
    by_policy,                                                               // never
    by_policy,                                                               // port_not_allowed
    by_policy,                                                               // unknown_agent
    by_policy,                                                               // request_not_allowed
    by_policy,                                                               // policy_changed
    by_address,                                                              // address_forbidden
    by_address,                                                              // address_private
    failed(407, "http_request_denied", SocksReply::not_allowed),             // auth_required
    by_form,                                                                 // bad_request
    by_form,                                                                 // bad_host
    by_form,                                                                 // scheme_not_allowed
    by_form,                                                                 // sni_mismatch
    by_form,                                                                 // sni_missing
    by_form,                                                                 // not_tls
    by_form,                                                                 // ech_present
    by_form,                                                                 // host_mismatch
    ours(508, "proxy_loop_detected"),                                        // proxy_loop
    by_limit,                                                                // connection_limit
    by_limit,                                                                // rate_limit
    by_limit,                                                                // upload_budget
    by_limit,                                                                // download_budget
    ours(431, "http_request_error"),                                         // header_too_large
    ours(408, "http_request_error"),                                         // deadline
    failed(502, "dns_error", SocksReply::host_unreachable),                  // dns_failed
    failed(504, "dns_timeout", SocksReply::host_unreachable),                // dns_timeout
    failed(502, "connection_refused", SocksReply::connection_refused),       // connect_refused
    failed(504, "connection_timeout", SocksReply::host_unreachable),         // connect_timeout
    failed(502, "destination_ip_unroutable", SocksReply::host_unreachable),  // unreachable
    failed(502, "tls_protocol_error", SocksReply::general_failure),          // origin_tls_failed
    ours(500, "proxy_internal_error"),                                       // internal
};

std::string_view status_phrase(int status) noexcept {
  switch (status) {
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 407:
      return "Proxy Authentication Required";
    case 408:
      return "Request Timeout";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 502:
      return "Bad Gateway";
    case 504:
      return "Gateway Timeout";
    case 508:
      return "Loop Detected";
    default:
      return "Internal Server Error";
  }
}

std::string json_body(const Refusal& refusal, const Answer& answer) {
  std::string body;
  body.reserve(2 * usual_sentence);
  const auto member = [&body](std::string_view key, std::string_view value) {
    body += key;
    text::append_json(body, value);
    body += '"';
  };
  member(R"({"error":")", answer.proxy_status);
  member(R"(,"reason":")", reason_name(refusal.reason));
  member(R"(,"target":")", refusal.target);
  member(R"(,"message":")", sentence(refusal));
  body += "}\n";
  return body;
}

std::string text_body(const Refusal& refusal) {
  std::string body;
  body.reserve(usual_sentence);
  append_sentence(body, refusal);
  body += '\n';
  return body;
}

// The last field, and the end of the head.
void append_connection(std::string& out, bool stays) {
  out.append("\r\nConnection: ").append(stays ? "keep-alive" : "close").append("\r\n\r\n");
}

// Whether an Accept member has a weight of 0 (RFC 9110 12.4.2).
bool is_weightless(std::string_view member) noexcept {
  std::size_t semicolon = member.find(';');
  while (semicolon != std::string_view::npos) {
    member.remove_prefix(semicolon + 1);
    semicolon = member.find(';');
    const std::string_view parameter = trim(member.substr(0, semicolon));
    if (parameter.starts_with("q=0") || parameter.starts_with("Q=0")) {
      return parameter.find_first_not_of("0.", 2) == std::string_view::npos;
    }
  }
  return false;
}

bool is_json_type(std::string_view member) noexcept {
  const std::string_view type = trim(member.substr(0, member.find(';')));
  constexpr std::string_view suffix = "+json";
  if (equals_ignoring_case(type, "application/json")) return true;
  return type.size() > suffix.size() && equals_ignoring_case(type.substr(0, 12), "application/") &&
         equals_ignoring_case(type.substr(type.size() - suffix.size()), suffix);
}

}  // namespace

const Answer& answer_for(Reason reason) noexcept { return table[static_cast<std::size_t>(reason)]; }

AsJson wants_json(const RequestHead& head) noexcept {
  for (const Field& field : head.fields) {
    if (!equals_ignoring_case(field.name, "accept")) continue;
    std::string_view rest = field.value;
    while (const auto member = next_member(rest)) {
      if (is_json_type(*member) && !is_weightless(*member)) return AsJson::yes;
    }
  }
  return AsJson::no;
}

std::string http_refusal(const Refusal& refusal, AsJson as_json, KeepAlive keep_alive,
                         ForHead for_head) {
  const Answer& answer = answer_for(refusal.reason);
  const std::string body = as_json ? json_body(refusal, answer) : text_body(refusal);
  // After 408 nobody knows where the next request begins.
  const bool stays = bool(keep_alive) && answer.http_status != 408;
  std::string out;
  out.reserve(usual_head + body.size());
  out += "HTTP/1.1 ";
  text::append_decimal(out, static_cast<unsigned>(answer.http_status));
  out.append(" ").append(status_phrase(answer.http_status)).append("\r\nDate: ");
  append_http_date(out, std::chrono::system_clock::now());
  out.append("\r\nProxy-Status: sluice; error=").append(answer.proxy_status);
  out.append("; details=\"").append(reason_name(refusal.reason)).append("\"\r\n");
  if (answer.http_status == 407) {
    out += "Proxy-Authenticate: Basic realm=\"sluice\", charset=\"UTF-8\"\r\n";
  }
  out += "Cache-Control: no-store\r\nContent-Type: ";
  out += as_json ? "application/json" : "text/plain; charset=utf-8";
  out += "\r\nContent-Length: ";
  text::append_decimal(out, body.size());
  append_connection(out, stays);
  if (!for_head) out += body;
  return out;
}

std::string http_options_answer(KeepAlive keep_alive) {
  std::string out = "HTTP/1.1 200 OK\r\nDate: ";
  append_http_date(out, std::chrono::system_clock::now());
  out +=
      "\r\nProxy-Status: sluice\r\n"
      "Allow: CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n"
      "Cache-Control: no-store\r\n"
      "Content-Length: 0";
  append_connection(out, bool(keep_alive));
  return out;
}

std::string socks_refusal(Reason reason) { return socks_reply(answer_for(reason).socks); }

std::string tls_alert(Reason reason) {
  const auto alert = answer_for(reason).tls_alert;
  if (!alert) return {};
  constexpr char alert_record = 21;
  constexpr char fatal = 2;
  return {alert_record, 3, 3, 0, 2, fatal, static_cast<char>(*alert)};
}

std::string dns_refusal(const DnsQuery& query, const Refusal& refusal, DnsTransport transport) {
  switch (answer_for(refusal.reason).dns) {
    case DnsRcode::name_error:
      return dns_name_error(query, sentence(refusal), transport);
    case DnsRcode::format_error:
      return dns_format_error(query, transport);
    default:
      return dns_server_failure(query, sentence(refusal), transport);
  }
}

}  // namespace sluice::proxy::wire
