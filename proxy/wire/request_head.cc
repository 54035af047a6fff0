#include "proxy/wire/request_head.h"

#include <algorithm>

namespace sluice::proxy::wire {
namespace {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Only what a Host field must have to be one (RFC 9110 7.2); what it names is judged by
// Target::parse.
bool looks_like_authority(std::string_view text) noexcept {
  const auto is_name_char = [](char c) {
    return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~' || c == '%';
  };
  const auto is_literal_char = [](char c) {
    return is_digit(c) || c == ':' || c == '.' || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  };
  std::size_t host = 0;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || close == 1) return false;
    const std::string_view inside = text.substr(1, close - 1);
    if (!std::all_of(inside.begin(), inside.end(), is_literal_char)) return false;
    host = close + 1;
  } else {
    host = std::min(text.find(':'), text.size());
    if (host == 0 || !std::all_of(text.begin(), text.begin() + host, is_name_char)) return false;
  }
  const std::string_view port = text.substr(host);
  if (port.empty()) return true;
  return port.front() == ':' && port.size() >= 2 && port.size() <= 6 &&
         std::all_of(port.begin() + 1, port.end(), is_digit);
}

WireResult<void> parse_request_line(std::string_view line, RequestHead& head) {
  const std::size_t first = line.find(' ');
  const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) {
    return bad_request("the request line is not a method, a target and a version");
  }
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!is_token(head.method)) return bad_request("the method is not a token");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return bad_request("the request line does not end in HTTP/1.1 or HTTP/1.0");
  }
  head.minor = version.back() - '0';
  const auto may_stand = [](char c) { return c > ' ' && c < '\x7f' && c != '#'; };
  if (head.target.empty() || !std::all_of(head.target.begin(), head.target.end(), may_stand)) {
    return bad_request("the request target is empty or has a byte that must be percent-encoded");
  }
  return {};
}

WireResult<void> check_host(const RequestHead& head) {
  const std::size_t hosts = head.count("host");
  if (hosts > 1) return bad_request("there is more than one Host field");
  if (hosts == 0) {
    if (head.minor == 0) return {};
    return bad_request("there is no Host field");
  }
  if (!looks_like_authority(*head.find("host"))) {
    return bad_request("the Host field is not a host with an optional port");
  }
  return {};
}

}  // namespace

WireResult<std::optional<RequestHead>> parse_request_head(std::string_view bytes,
                                                          const HeadLimits& limits,
                                                          std::size_t& scanned) {
  auto lines = split_head(bytes, limits.bytes, scanned);
  if (!lines) return tl::unexpected(std::move(lines.error()));
  if (!*lines) return std::nullopt;

  RequestHead head;
  head.size = (*lines)->size;
  if (auto line = parse_request_line((*lines)->start_line, head); !line) {
    return tl::unexpected(std::move(line.error()));
  }
  auto fields = parse_fields((*lines)->field_lines, limits.fields);
  if (!fields) return tl::unexpected(std::move(fields.error()));
  head.fields = std::move(*fields);
  if (auto host = check_host(head); !host) return tl::unexpected(std::move(host.error()));
  return head;
}

std::string AbsoluteForm::origin_form(std::string_view method) const {
  if (path_and_query.empty()) return method == "OPTIONS" ? "*" : "/";
  if (path_and_query.front() == '?') return "/" + std::string(path_and_query);
  return std::string(path_and_query);
}

WireResult<AbsoluteForm> parse_absolute_form(std::string_view target) {
  if (target.starts_with('/') || target == "*") {
    return bad_request("a request to a proxy must name the whole URL, as in http://example.com/");
  }
  const std::size_t colon = target.find(':');
  const std::string_view scheme = target.substr(0, std::min(colon, target.size()));
  const bool is_scheme = !scheme.empty() && is_letter(scheme.front()) &&
                         std::all_of(scheme.begin(), scheme.end(), [](char c) {
                           return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
                         });
  if (colon == std::string_view::npos || !is_scheme || target.substr(colon, 3) != "://") {
    return bad_request("the request target is not a URL, as in http://example.com/");
  }
  if (equals_ignoring_case(scheme, "https")) {
    return wire_fail(Reason::scheme_not_allowed, "https URLs are reached with CONNECT");
  }
  if (!equals_ignoring_case(scheme, "http")) {
    return wire_fail(Reason::scheme_not_allowed, "the scheme of the URL is not http");
  }
  const std::string_view rest = target.substr(colon + 3);
  const auto ends = [](char c) { return c == '/' || c == '?'; };
  const auto end =
      static_cast<std::size_t>(std::find_if(rest.begin(), rest.end(), ends) - rest.begin());
  const AbsoluteForm form{scheme, rest.substr(0, end), rest.substr(end)};
  if (form.authority.empty()) return bad_request("the URL names no host");
  if (form.authority.find('@') != std::string_view::npos) {
    return bad_request("the URL has a user name or an @ before its host");
  }
  return form;
}

}  // namespace sluice::proxy::wire
