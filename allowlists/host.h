// Turns any spelling of a host into its one canonical form, or refuses it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "base/ip_address.h"

namespace sluice::allowlists {

// Why a spelling is refused: one sentence, lower case, no trailing dot, that does not repeat the
// (untrusted) spelling.
struct BadHost {
  std::string why;
};

// A host in canonical form: a name (ASCII lower case, IDNA A-labels of RFC 5891, no trailing dot,
// labels of 1-63 letters, digits, '-' and '_', at most 253 bytes) or an IP address. Nothing else
// exists.
class Host {
 public:
  // A bare host as DNS, SNI, SOCKS or a policy spell it: no brackets, no port. A literal address in
  // standard spelling is an address; every other spelling that some resolver takes for one
  // (0x7f.1, 127.1, 2130706433, 0177.0.0.1, a name whose last label is all digits or 0x…) is
  // refused.
  static tl::expected<Host, BadHost> parse(std::string_view text);
  static Host of(const IpAddress& address) { return Host(address); }

  bool is_name() const noexcept { return std::holds_alternative<std::string>(value_); }
  // For is_name().
  const std::string& name() const noexcept { return *std::get_if<std::string>(&value_); }
  // For !is_name().
  const IpAddress& address() const noexcept { return *std::get_if<IpAddress>(&value_); }
  // "api.example.com", "192.0.2.1", "2001:db8::1"
  std::string to_string() const;

  friend bool operator==(const Host&, const Host&) = default;

 private:
  explicit Host(std::string name) : value_(std::move(name)) {}
  explicit Host(const IpAddress& address) : value_(address) {}
  std::variant<std::string, IpAddress> value_;
};

// Where an agent wants to go. Made once from its bytes; nobody sees the string again.
struct Target {
  Host host;
  std::uint16_t port = 0;

  // RFC 3986 3.2 authority without userinfo: "host:443", "[2001:db8::1]:443", "host" if there is a
  // default port. Ports are 1-65535 in decimal without sign or leading zero.
  static tl::expected<Target, BadHost> parse(std::string_view authority,
                                             std::optional<std::uint16_t> default_port);
  // "api.example.com:443", "[2001:db8::1]:443"
  std::string to_string() const;

  friend bool operator==(const Target&, const Target&) = default;
};

}  // namespace sluice::allowlists
