#include "proxy/wire/body.h"

#include <charconv>

namespace sluice::proxy::wire {
namespace {

// 1*DIGIT (RFC 9110 8.6); nothing for signs, spaces, lists and what does not fit 64 bits.
std::optional<std::uint64_t> plain_number(std::string_view text) noexcept {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Whether the body is chunked; every other use of Transfer-Encoding is an error, because another
// parser may see another end of the body (RFC 9112 6.1, 11.2).
WireResult<bool> is_chunked(const MessageHead& head) {
  const std::size_t codings = head.count("transfer-encoding");
  if (codings == 0) return false;
  if (head.minor == 0) return bad_request("Transfer-Encoding stands in an HTTP/1.0 message");
  if (head.count("content-length") != 0) {
    return bad_request("Transfer-Encoding and Content-Length stand together");
  }
  if (codings > 1 || !equals_ignoring_case(*head.find("transfer-encoding"), "chunked")) {
    return bad_request("Transfer-Encoding is not exactly \"chunked\"");
  }
  return true;
}

}  // namespace

std::optional<std::uint64_t> content_length(const ResponseHead& head) noexcept {
  std::optional<std::uint64_t> length;
  for (const Field& field : head.fields) {
    if (!equals_ignoring_case(field.name, "content-length")) continue;
    for (std::string_view rest = field.value;;) {
      const std::size_t comma = rest.find(',');
      const auto value = plain_number(trim(rest.substr(0, comma)));
      if (!value || (length && *length != *value)) return std::nullopt;
      length = value;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return length;
}

WireResult<BodyPlan> request_body(const RequestHead& head) {
  const auto chunked = is_chunked(head);
  if (!chunked) return tl::unexpected(chunked.error());
  const std::size_t lengths = head.count("content-length");
  if (lengths > 1) return bad_request("there is more than one Content-Length");
  BodyPlan plan;
  if (*chunked) {
    plan.framing = Framing::chunked;
  } else if (lengths == 1) {
    const auto length = plain_number(*head.find("content-length"));
    if (!length) return bad_request("Content-Length is not a number");
    plan = {Framing::length, *length};
  }
  // What follows a CONNECT is the tunnel; a body would be read as part of it (RFC 9110 9.3.6).
  if (head.method == "CONNECT" && (*chunked || plan.length != 0)) {
    return bad_request("a CONNECT request has a body");
  }
  return plan;
}

WireResult<BodyPlan> response_body(std::string_view request_method, const ResponseHead& head) {
  const auto broken = [](const std::string& why) {
    return wire_fail(Reason::unreachable, "the origin's answer has no certain end: " + why);
  };
  const bool success = head.status / 100 == 2;
  if (request_method == "CONNECT" && success) return BodyPlan{};
  const auto chunked = is_chunked(head);
  if (!chunked) return broken(chunked.error().why);
  const auto length = content_length(head);
  if (!length && head.count("content-length") != 0) {
    return broken("Content-Length is not one number");
  }
  if (request_method == "HEAD" || head.status / 100 == 1 || head.status == 204 ||
      head.status == 304) {
    return BodyPlan{};
  }
  if (*chunked) return BodyPlan{Framing::chunked, 0};
  if (length) return BodyPlan{Framing::length, *length};
  return BodyPlan{Framing::until_close, 0};
}

}  // namespace sluice::proxy::wire
