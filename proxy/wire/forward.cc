#include "proxy/wire/forward.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <vector>

#include "base/text.h"
#include "proxy/wire/upgrade.h"

namespace sluice::proxy::wire {
namespace {

using Names = std::vector<std::string_view>;

// An honest Connection field names a handful; each costs a comparison with each field.
constexpr std::size_t connection_option_limit = 64;

bool holds(std::span<const std::string_view> names, std::string_view name) noexcept {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view entry) { return equals_ignoring_case(name, entry); });
}

// Of this hop (RFC 9110 7.6.1, and what older software sends), or written anew by us. Trailer is
// not among them, but it promises what only a chunked body can keep (RFC 9110 6.6.2).
constexpr std::array<std::string_view, 10> hop_fields = {
    "connection",         "proxy-connection",         "keep-alive", "te",
    "transfer-encoding",  "content-length",           "upgrade",    "http2-settings",
    "proxy-authenticate", "proxy-authentication-info"};
// Of requests only. Proxy-Authorization is for us: it is never shown to an origin.
constexpr std::array<std::string_view, 2> request_hop_fields = {"host", "proxy-authorization"};

// What Connection names as being of this hop only.
WireResult<Names> connection_options(const MessageHead& head) {
  Names names;
  for (const Field& field : head.fields) {
    if (!equals_ignoring_case(field.name, "connection")) continue;
    std::string_view rest = field.value;
    while (const auto member = next_member(rest)) {
      if (!is_token(*member)) return bad_request("the Connection field is not a list of names");
      if (names.size() == connection_option_limit) {
        return bad_request("the Connection field names too many fields");
      }
      names.push_back(*member);
    }
  }
  return names;
}

// With these an agent could make us, or the next hop, lose what keeps messages apart and loops out.
WireResult<void> check_request_options(const Names& options) {
  static constexpr std::array<std::string_view, 5> essential = {
      "host", "content-length", "transfer-encoding", "via", "max-forwards"};
  const bool strips = std::any_of(options.begin(), options.end(),
                                  [](std::string_view name) { return holds(essential, name); });
  if (strips) return bad_request("the Connection field names a field that must not be dropped");
  return {};
}

// Who we are in Via (RFC 9110 7.6.3), to know our own again.
void append_ourselves(std::string& out, std::string_view loop_token) {
  out.append("sluice (").append(loop_token).append(")");
}

bool went_through_us(const ForwardedRequest& request) {
  std::string ourselves;
  for (const Field& field : request.head.fields) {
    if (!equals_ignoring_case(field.name, "via")) continue;
    if (ourselves.empty()) append_ourselves(ourselves, request.loop_token);
    if (field.value.find(ourselves) != std::string_view::npos) return true;
  }
  return false;
}

WireResult<void> check_request(const ForwardedRequest& request) {
  const std::string_view method = request.head.method;
  if (method == "TRACE") return bad_request("TRACE would show an origin's view of the way out");
  if (method == "CONNECT") return bad_request("CONNECT makes a tunnel and is not forwarded");
  const bool asterisk = request.origin_form == "*" && method == "OPTIONS";
  if (!request.origin_form.starts_with('/') && !asterisk) {
    return bad_request("the request target is not a path");
  }
  if (went_through_us(request)) {
    return wire_fail(Reason::proxy_loop, "the request came through this proxy before");
  }
  return {};
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

bool is_left_behind(const Field& field, const Names& options, const BodyPlan& body) noexcept {
  if (holds(hop_fields, field.name) || holds(options, field.name)) return true;
  return body.framing != Framing::chunked && equals_ignoring_case(field.name, "trailer");
}

void append_field(std::string& out, std::string_view name, std::uint64_t value) {
  out.append(name).append(": ");
  text::append_decimal(out, value);
  out += "\r\n";
}

void append_framing(std::string& out, const BodyPlan& body) {
  if (body.framing == Framing::length) {
    append_field(out, "Content-Length", body.length);
  } else if (body.framing == Framing::chunked) {
    append_field(out, "Transfer-Encoding", "chunked");
  }
}

// The Host field says the port unless it is the scheme's own (RFC 9110 7.2).
void append_host(std::string& out, const allowlists::Target& target) {
  out += "Host: ";
  if (target.host.is_name()) {
    out += target.host.name();
  } else {
    const bool is_v4 = target.host.address().is_v4();
    out.append(is_v4 ? "" : "[").append(target.host.to_string()).append(is_v4 ? "" : "]");
  }
  if (target.port != 80) {
    out += ':';
    text::append_decimal(out, target.port);
  }
  out += "\r\n";
}

// The version is that of the message that came.
void append_via_version(std::string& out, const MessageHead& head) {
  out.append("Via: 1.").append(1, static_cast<char>('0' + head.minor)).append(" ");
}

void append_request_fields(std::string& out, const ForwardedRequest& request, const Names& options,
                           std::optional<std::uint32_t> hops) {
  const RequestHead& head = request.head;
  for (const Field& field : head.fields) {
    if (is_left_behind(field, options, request.body)) continue;
    if (holds(request_hop_fields, field.name)) continue;
    if (hops && equals_ignoring_case(field.name, "max-forwards")) continue;
    // RFC 9110 10.1.1: in HTTP/1.0 it means nothing, but our HTTP/1.1 would give it a meaning.
    if (head.minor == 0 && equals_ignoring_case(field.name, "expect")) continue;
    append_field(out, field.name, field.value);
  }
  if (hops) append_field(out, "Max-Forwards", *hops - 1);
}

// What we say to the next hop about the connection to it. We carry trailers on, and take nothing
// else that TE could ask for (RFC 9110 10.1.4).
void append_connection_fields(std::string& out, const ForwardedRequest& request) {
  std::string options;
  const auto name = [&](std::string_view option) {
    options.append(options.empty() ? "" : ", ").append(option);
  };
  if (request.head.minor == 1 && request.head.lists("te", "trailers")) {
    append_field(out, "TE", "trailers");
    name("TE");
  }
  if (!request.upgrade.empty()) {
    name("Upgrade");
  } else if (!request.keep_alive) {
    name("close");
  }
  if (!options.empty()) append_field(out, "Connection", options);
  if (!request.upgrade.empty()) append_field(out, "Upgrade", request.upgrade);
}

}  // namespace

WireResult<std::optional<std::uint32_t>> max_forwards(const RequestHead& head) {
  if (head.method != "OPTIONS" || head.count("max-forwards") == 0) return std::nullopt;
  const std::string_view text = *head.find("max-forwards");
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(),
                                                   [](char c) { return c >= '0' && c <= '9'; });
  if (head.count("max-forwards") > 1 || !digits) {
    return bad_request("Max-Forwards is not one number");
  }
  std::uint32_t hops = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hops);
  // More than we can count is as many as we can.
  return error == std::errc{} ? hops : std::numeric_limits<std::uint32_t>::max();
}

std::vector<std::string> hop_names(const MessageHead& head) {
  const auto options = connection_options(head);
  if (!options) return {};
  return {options->begin(), options->end()};
}

WireResult<std::string> forward_request_head(const ForwardedRequest& request) {
  const RequestHead& head = request.head;
  if (auto checked = check_request(request); !checked) {
    return tl::unexpected(std::move(checked.error()));
  }
  const auto options = connection_options(head);
  if (!options) return tl::unexpected(options.error());
  if (auto checked = check_request_options(*options); !checked) {
    return tl::unexpected(std::move(checked.error()));
  }
  const auto hops = max_forwards(head);
  if (!hops) return tl::unexpected(hops.error());
  if (*hops && **hops == 0) return bad_request("Max-Forwards is 0: it may not go any further");

  std::string out;
  out.reserve(head.size + 128);
  out.append(head.method).append(" ").append(request.origin_form).append(" HTTP/1.1\r\n");
  append_host(out, request.target);
  append_request_fields(out, request, *options, *hops);
  append_framing(out, request.body);
  append_via_version(out, head);
  append_ourselves(out, request.loop_token);
  out += "\r\n";
  append_connection_fields(out, request);
  out += "\r\n";
  return out;
}

WireResult<std::string> forward_response_head(const ForwardedResponse& response,
                                              KeepAlive keep_alive) {
  const ResponseHead& head = response.head;
  std::string_view protocol;
  if (head.status == 101) {
    const auto switched = switched_protocol(head, response.offered);
    if (!switched) return tl::unexpected(switched.error());
    protocol = *switched;
  }
  const auto options = connection_options(head);
  if (!options) return wire_fail(Reason::unreachable, "of the origin: " + options.error().why);

  std::string out;
  out.reserve(head.size + 128);
  out += "HTTP/1.1 ";
  text::append_decimal(out, static_cast<unsigned>(head.status));
  out.append(" ").append(head.reason).append("\r\n");
  for (const Field& field : head.fields) {
    if (is_left_behind(field, *options, response.body)) continue;
    append_field(out, field.name, field.value);
  }
  if (head.status >= 200 && !response.date.empty() && head.count("date") == 0) {
    append_field(out, "Date", response.date);
  }
  append_framing(out, response.body);
  const bool tells_length = response.request_method == "HEAD" || head.status == 304;
  if (const auto length = content_length(head);
      length && tells_length && response.body.framing == Framing::none && head.status >= 200) {
    append_field(out, "Content-Length", *length);
  }
  append_via_version(out, head);
  out += "sluice\r\n";
  if (head.status >= 200) {
    const bool stays = bool(keep_alive) && response.body.framing != Framing::until_close;
    append_field(out, "Connection", stays ? "keep-alive" : "close");
  } else if (!protocol.empty()) {
    append_field(out, "Connection", "Upgrade");
    append_field(out, "Upgrade", protocol);
  }
  out += "\r\n";
  return out;
}

}  // namespace sluice::proxy::wire
