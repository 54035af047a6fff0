#include "proxy/wire/basic_auth.h"

#include <algorithm>
#include <array>

namespace sluice::proxy::wire {
namespace {

constexpr std::size_t longest_decoded = longest_user + 1 + longest_password;
constexpr std::size_t longest_encoded = (longest_decoded + 2) / 3 * 4;

constexpr std::uint8_t no_letter = 64;

// RFC 4648 4: the value of each letter of the alphabet.
constexpr std::array<std::uint8_t, 256> base64_values = [] {
  std::array<std::uint8_t, 256> table{};
  table.fill(no_letter);
  std::uint8_t value = 0;
  for (const char letter :
       std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")) {
    table[static_cast<unsigned char>(letter)] = value++;
  }
  return table;
}();

// Room for a user-id and a password; wiped when it goes.
struct Decoded {
  Decoded() = default;
  ~Decoded() { ::explicit_bzero(bytes.data(), bytes.size()); }
  Decoded(const Decoded&) = delete;
  Decoded& operator=(const Decoded&) = delete;

  std::string_view view() const noexcept { return {bytes.data(), size}; }
  // False: not base64 in its one canonical spelling. At most longest_encoded letters.
  bool decode(std::string_view text) noexcept;

  std::array<char, longest_encoded / 4 * 3> bytes;
  std::size_t size = 0;
};

bool Decoded::decode(std::string_view text) noexcept {
  if (text.size() % 4 != 0) return false;
  while (!text.empty()) {
    const bool last = text.size() == 4;
    const std::size_t padding = last && text[3] == '=' ? (text[2] == '=' ? 2 : 1) : 0;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const unsigned value =
          i < 4 - padding ? base64_values[static_cast<unsigned char>(text[i])] : 0;
      if (value == no_letter) return false;
      bits = bits << 6 | value;
    }
    // Bits that no byte has room for would be another spelling of the same bytes.
    if ((bits & ((1U << 8 * padding) - 1)) != 0) return false;
    for (std::size_t i = 0; i < 3 - padding; ++i) {
      bytes[size++] = static_cast<char>(bits >> (16 - 8 * i) & 0xff);
    }
    text.remove_prefix(4);
  }
  return true;
}

WireResult<Credentials> read_basic(std::string_view token68) {
  if (token68.empty()) return bad_request("Proxy-Authorization has no credentials");
  if (token68.size() > longest_encoded) {
    return bad_request("the credentials in Proxy-Authorization are too long");
  }
  Decoded decoded;
  if (!decoded.decode(token68)) {
    return bad_request("the credentials in Proxy-Authorization are not base64");
  }
  const std::string_view pair = decoded.view();
  const std::size_t colon = pair.find(':');
  if (colon == std::string_view::npos) {
    return bad_request("the credentials in Proxy-Authorization lack the colon");
  }
  if (has_control_byte(pair)) {
    return bad_request("the credentials in Proxy-Authorization contain a control byte");
  }
  if (colon > longest_user || pair.size() - colon - 1 > longest_password) {
    return bad_request("the credentials in Proxy-Authorization are too long");
  }
  return Credentials{std::string(pair.substr(0, colon)), Secret(pair.substr(colon + 1))};
}

}  // namespace

bool has_control_byte(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<std::uint8_t>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

WireResult<ProxyAuthorization> read_proxy_authorization(const MessageHead& head) {
  const auto value = head.find("Proxy-Authorization");
  if (!value) return ProxyAuthorization();
  if (head.count("Proxy-Authorization") > 1) {
    return bad_request("more than one Proxy-Authorization field");
  }
  const std::size_t end = std::min(value->find(' '), value->size());
  const std::string_view scheme = value->substr(0, end);
  if (!is_token(scheme)) return bad_request("the scheme in Proxy-Authorization is no token");
  ProxyAuthorization found;
  if (!equals_ignoring_case(scheme, "Basic")) {
    found.kind = ProxyAuthorization::Kind::other_scheme;
    return found;
  }
  std::string_view token68 = value->substr(end);
  token68.remove_prefix(std::min(token68.find_first_not_of(' '), token68.size()));
  auto credentials = read_basic(token68);
  if (!credentials) return tl::unexpected(std::move(credentials.error()));
  found.kind = ProxyAuthorization::Kind::basic;
  found.credentials = std::move(*credentials);
  return found;
}

}  // namespace sluice::proxy::wire
