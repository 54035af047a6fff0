#include "proxy/wire/upgrade.h"

#include <algorithm>
#include <array>
#include <optional>

namespace sluice::proxy::wire {
namespace {

constexpr std::size_t protocol_limit = 16;

std::string_view name_of(std::string_view protocol) noexcept {
  return protocol.substr(0, protocol.find('/'));
}

// protocol = protocol-name ["/" protocol-version], both tokens (RFC 9110 7.8).
bool is_protocol(std::string_view text) noexcept {
  const std::string_view name = name_of(text);
  return is_token(name) && (name.size() == text.size() || is_token(text.substr(name.size() + 1)));
}

// In these an agent would name other hosts out of sight: HTTP by another framing, TLS with any
// SNI, a tunnel that the origin opens (RFC 9298, RFC 9484).
bool leads_past_the_gate(std::string_view protocol) noexcept {
  static constexpr std::array<std::string_view, 6> names = {"http", "tls",        "ssl",
                                                            "spdy", "connect-ip", "connect-tcp"};
  static constexpr std::array<std::string_view, 3> drafts = {"h2", "h3", "connect-udp"};
  const std::string_view name = name_of(protocol);
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view entry) { return equals_ignoring_case(name, entry); }) ||
         std::any_of(drafts.begin(), drafts.end(), [&](std::string_view entry) {
           return equals_ignoring_case(name.substr(0, entry.size()), entry);
         });
}

tl::unexpected<WireError> not_switched(std::string why) {
  return wire_fail(Reason::unreachable, std::move(why));
}

// Nothing: none or several.
std::optional<std::string_view> only_protocol(const ResponseHead& head) {
  std::optional<std::string_view> only;
  for (const Field& field : head.fields) {
    if (!equals_ignoring_case(field.name, "upgrade")) continue;
    std::string_view rest = field.value;
    while (const auto member = next_member(rest)) {
      if (only) return std::nullopt;
      only = member;
    }
  }
  return only;
}

}  // namespace

WireResult<std::string> offered_protocols(const RequestHead& head, const BodyPlan& body) {
  std::string offered;
  const bool bodiless =
      body.framing == Framing::none || (body.framing == Framing::length && body.length == 0);
  if (!bodiless || !head.keeps_alive() || !head.lists("connection", "upgrade")) return offered;
  std::size_t members = 0;
  for (const Field& field : head.fields) {
    if (!equals_ignoring_case(field.name, "upgrade")) continue;
    std::string_view rest = field.value;
    while (const auto member = next_member(rest)) {
      if (!is_protocol(*member)) return bad_request("the Upgrade field is not a list of protocols");
      if (++members > protocol_limit) {
        return bad_request("the Upgrade field names too many protocols");
      }
      if (leads_past_the_gate(*member)) continue;
      if (!offered.empty()) offered += ", ";
      offered += *member;
    }
  }
  return offered;
}

WireResult<std::string_view> switched_protocol(const ResponseHead& head, std::string_view offered) {
  if (offered.empty()) {
    return not_switched("the origin switches to a protocol nobody asked for");
  }
  if (head.minor == 0) return not_switched("the origin switches protocols in HTTP/1.0");
  if (head.count("content-length") != 0 || head.count("transfer-encoding") != 0) {
    return not_switched("the origin switches protocols with a body");
  }
  if (!head.lists("connection", "upgrade")) {
    return not_switched("the origin switches protocols without Connection: upgrade");
  }
  const auto chosen = only_protocol(head);
  if (!chosen) return not_switched("the origin does not name one protocol that it switches to");
  while (const auto member = next_member(offered)) {
    if (equals_ignoring_case(*member, *chosen)) return *member;
  }
  return not_switched("the origin switches to a protocol nobody asked for");
}

}  // namespace sluice::proxy::wire
