#include "proxy/wire/socks.h"

#include <algorithm>

namespace sluice::proxy::wire {
namespace {

constexpr std::uint8_t atyp_v4 = 1;
constexpr std::uint8_t atyp_name = 3;
constexpr std::uint8_t atyp_v6 = 4;

constexpr char password_version = 1;  // of the sub-negotiation

std::uint8_t octet(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

IpAddress read_address(std::string_view bytes) {
  IpAddress::Bytes value{};
  std::copy(bytes.begin(), bytes.end(), value.begin());
  if (bytes.size() == 16) return IpAddress::v6(value);
  return IpAddress::v4(std::uint32_t{value[0]} << 24 | std::uint32_t{value[1]} << 16 |
                       std::uint32_t{value[2]} << 8 | value[3]);
}

// What can be told wrong from the first four bytes, as soon as each is there.
WireResult<void> check_request_front(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != socks_version)
    return bad_request("this is not SOCKS version 5");
  if (bytes.size() > 2 && bytes[2] != 0) return bad_request("the reserved byte of SOCKS is not 0");
  if (bytes.size() > 3) {
    const std::uint8_t kind = octet(bytes, 3);
    if (kind != atyp_v4 && kind != atyp_name && kind != atyp_v6) {
      return bad_request("the kind of address is not one of SOCKS version 5");
    }
  }
  return {};
}

}  // namespace

WireResult<std::optional<SocksGreeting>> parse_socks_greeting(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != socks_version)
    return bad_request("this is not SOCKS version 5");
  if (bytes.size() < 2) return std::nullopt;
  const std::size_t count = octet(bytes, 1);
  if (count == 0) return bad_request("the SOCKS client offers no method");
  if (bytes.size() < 2 + count) return std::nullopt;
  const std::string_view methods = bytes.substr(2, count);
  const auto offers = [&](SocksMethod method) {
    return methods.find(static_cast<char>(method)) != std::string_view::npos;
  };
  return SocksGreeting{offers(SocksMethod::none), offers(SocksMethod::password), 2 + count};
}

WireResult<std::optional<SocksRequest>> parse_socks_request(std::string_view bytes) {
  if (auto front = check_request_front(bytes); !front) {
    return tl::unexpected(std::move(front.error()));
  }
  if (bytes.size() < 5) return std::nullopt;
  const std::uint8_t kind = octet(bytes, 3);
  const std::size_t begin = kind == atyp_name ? 5 : 4;
  const std::size_t size = kind == atyp_name ? octet(bytes, 4) : kind == atyp_v4 ? 4 : 16;
  if (size == 0) return bad_request("the name to connect to is empty");
  if (bytes.size() < begin + size + 2) return std::nullopt;

  SocksRequest request;
  request.command = octet(bytes, 1);
  const std::string_view host = bytes.substr(begin, size);
  if (kind == atyp_name) {
    request.host = std::string(host);
  } else {
    request.host = read_address(host);
  }
  request.port =
      static_cast<std::uint16_t>(octet(bytes, begin + size) << 8 | octet(bytes, begin + size + 1));
  request.size = begin + size + 2;
  return request;
}

WireResult<std::optional<SocksPassword>> parse_socks_password(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != password_version) {
    return bad_request("this is not version 1 of the SOCKS password exchange");
  }
  if (bytes.size() < 2) return std::nullopt;
  const std::size_t user_size = octet(bytes, 1);
  if (user_size == 0) return bad_request("the SOCKS user name is empty");
  const std::size_t behind_user = 2 + user_size;
  if (bytes.size() <= behind_user) return std::nullopt;
  const std::size_t password_size = octet(bytes, behind_user);
  if (password_size == 0) return bad_request("the SOCKS password is empty");
  const std::size_t size = behind_user + 1 + password_size;
  if (bytes.size() < size) return std::nullopt;
  const std::string_view user = bytes.substr(2, user_size);
  const std::string_view password = bytes.substr(behind_user + 1, password_size);
  if (has_control_byte(user) || has_control_byte(password)) {
    return bad_request("the SOCKS user name or password contains a control byte");
  }
  return SocksPassword{{std::string(user), Secret(password)}, size};
}

std::string socks_method_reply(SocksMethod chosen) {
  return {socks_version, static_cast<char>(chosen)};
}

std::string socks_password_reply(Accepted accepted) {
  return {password_version, accepted ? '\x00' : '\x01'};
}

std::string socks_reply(SocksReply reply) {
  return {socks_version, static_cast<char>(reply), 0, static_cast<char>(atyp_v4), 0, 0, 0, 0, 0, 0};
}

}  // namespace sluice::proxy::wire
