#include "allowlists/host.h"

#include <fmt/core.h>
#include <idn2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "base/text.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t max_name = 253;       // RFC 1035 2.3.4, without the root label
constexpr std::size_t max_label = 63;       // RFC 1035 2.3.4
constexpr std::size_t max_spelling = 1024;  // U-labels may be longer than the A-labels they become

tl::unexpected<BadHost> bad(std::string_view why) {
  return tl::unexpected<BadHost>(BadHost{std::string(why)});
}

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr bool is_label_byte(char c) {
  return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}
constexpr bool is_hex_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

// What inet_aton(3) and URL parsers read as a part of an IPv4 address: digits, or 0x and hex
// digits.
bool is_numeric(std::string_view label) {
  if (label.starts_with("0x")) {
    return std::all_of(label.begin() + 2, label.end(), is_hex_digit);
  }
  return std::all_of(label.begin(), label.end(), is_digit);
}

// U-labels to A-labels by IDNA2008 alone (RFC 5891). No UTS 46 mapping and no normalisation: they
// turn full-width letters, the Kelvin sign or U+3002 into ASCII, so that two spellings would be one
// name.
tl::expected<std::string, BadHost> to_a_labels(const std::string& spelling) {
  if (text::valid_utf8_prefix(spelling) != spelling.size()) return bad("the name is not UTF-8");
  // U+3002, U+FF0E and U+FF61 are dots to IDNA2003.
  for (const std::string_view dot : {"\u3002", "\uff0e", "\uff61"}) {
    if (spelling.find(dot) != std::string::npos) return bad("the name has a dot that is not '.'");
  }
  std::uint8_t* converted = nullptr;
  const int status = ::idn2_lookup_u8(reinterpret_cast<const std::uint8_t*>(spelling.c_str()),
                                      &converted, IDN2_NO_TR46 | IDN2_ALABEL_ROUNDTRIP);
  const std::unique_ptr<std::uint8_t, void (*)(void*)> owner(converted, ::idn2_free);
  if (status != IDN2_OK) return bad("the name is not valid in IDNA2008 (RFC 5891)");
  return std::string(reinterpret_cast<const char*>(converted));
}

// `name` in lower-case ASCII, without its trailing dot.
tl::expected<std::string, BadHost> checked_name(std::string name) {
  if (name.empty()) return bad("the name is empty");
  if (name.size() > max_name) return bad("the name is longer than 253 bytes");
  std::size_t label_begin = 0;
  std::string_view label;
  while (label_begin <= name.size()) {
    const std::size_t label_end = std::min(name.find('.', label_begin), name.size());
    label = std::string_view(name).substr(label_begin, label_end - label_begin);
    if (label.empty()) return bad("the name has an empty label");
    if (label.size() > max_label) return bad("the name has a label longer than 63 bytes");
    if (!std::all_of(label.begin(), label.end(), is_label_byte)) {
      return bad("the name has a character other than letters, digits, '-', '_' and '.'");
    }
    label_begin = label_end + 1;
  }
  // 127.1, 2130706433 and 0x7f000001 are addresses to some resolvers and names to others.
  if (is_numeric(label)) return bad("the last label is a number and the whole is no address");
  return name;
}

std::optional<std::uint16_t> parse_port(std::string_view digits) {
  if (digits.empty() || digits.front() == '0' ||
      !std::all_of(digits.begin(), digits.end(), is_digit)) {
    return {};
  }
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) return {};
  return port;
}

struct Split {
  tl::expected<Host, BadHost> host;
  std::string_view rest;  // "" or what follows the host, colon included
};

Split split_bracketed(std::string_view authority) {
  const std::size_t close = authority.find(']');
  if (close == std::string_view::npos) return {bad("the bracket is not closed"), {}};
  const std::string_view literal = authority.substr(1, close - 1);
  const auto address = IpAddress::parse(literal);
  if (!address || address->is_v4()) return {bad("only an IPv6 address stands in brackets"), {}};
  return {Host::of(*address), authority.substr(close + 1)};
}

Split split_authority(std::string_view authority) {
  if (authority.starts_with('[')) return split_bracketed(authority);
  const std::size_t colon = std::min(authority.find(':'), authority.size());
  return {Host::parse(authority.substr(0, colon)), authority.substr(colon)};
}

}  // namespace

tl::expected<Host, BadHost> Host::parse(std::string_view text) {
  if (text.empty()) return bad("the name is empty");
  if (text.size() > max_spelling) return bad("the name is longer than 253 bytes");
  if (text.find('\0') != std::string_view::npos) return bad("the name has a NUL byte");
  if (text.find(':') != std::string_view::npos) {
    const auto address = IpAddress::parse(text);
    if (!address) return bad("it has a ':' and is no IPv6 address");
    return Host(*address);
  }
  if (const auto address = IpAddress::parse(text)) return Host(*address);
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(), lower);
  if (name.ends_with('.')) name.pop_back();
  if (!std::all_of(name.begin(), name.end(), is_ascii)) {
    auto ascii = to_a_labels(name);
    if (!ascii) return tl::unexpected<BadHost>(ascii.error());
    name = std::move(*ascii);
  }
  auto checked = checked_name(std::move(name));
  if (!checked) return tl::unexpected<BadHost>(checked.error());
  return Host(std::move(*checked));
}

std::string Host::to_string() const { return is_name() ? name() : address().to_string(); }

tl::expected<Target, BadHost> Target::parse(std::string_view authority,
                                            std::optional<std::uint16_t> default_port) {
  auto [host, rest] = split_authority(authority);
  if (!host) return tl::unexpected<BadHost>(host.error());
  if (rest.empty()) {
    if (!default_port) return bad("the port is missing");
    return Target{std::move(*host), *default_port};
  }
  const auto port = rest.front() == ':' ? parse_port(rest.substr(1)) : std::nullopt;
  if (!port) return bad("the port is not a decimal number from 1 to 65535");
  return Target{std::move(*host), *port};
}

std::string Target::to_string() const {
  const bool bracketed = !host.is_name() && !host.address().is_v4();
  return bracketed ? fmt::format("[{}]:{}", host.to_string(), port)
                   : fmt::format("{}:{}", host.to_string(), port);
}

}  // namespace sluice::allowlists
