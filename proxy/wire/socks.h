// Reads what a SOCKS5 client says and builds the answers (RFC 1928, RFC 1929).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/ip_address.h"
#include "base/strong.h"
#include "proxy/wire/basic_auth.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

inline constexpr char socks_version = 5;

enum class SocksMethod : std::uint8_t { none = 0x00, password = 0x02, not_acceptable = 0xff };

struct SocksGreeting {
  bool offers_none = false;      // "no authentication required" is among the methods
  bool offers_password = false;  // RFC 1929
  std::size_t size = 0;          // bytes of the message
};

// Nothing: more bytes are needed. bad_request: another version, or no method at all.
WireResult<std::optional<SocksGreeting>> parse_socks_greeting(std::string_view bytes);

// What follows when SocksMethod::password was chosen (RFC 1929 2).
struct SocksPassword {
  Credentials credentials;  // 1-255 bytes each, without control bytes
  std::size_t size = 0;     // bytes of the message
};

// Nothing: more bytes are needed. bad_request: another version than 1 of the sub-negotiation, an
// empty name or password, a control byte in one.
WireResult<std::optional<SocksPassword>> parse_socks_password(std::string_view bytes);

enum class SocksCommand : std::uint8_t { connect = 1, bind = 2, udp_associate = 3 };

struct SocksRequest {
  std::uint8_t command = 0;  // a SocksCommand, or an unknown one
  std::variant<IpAddress, std::string>
      host;  // a name as sent, 1-255 bytes of anything: for Host::parse
  std::uint16_t port = 0;
  std::size_t size = 0;  // bytes of the message

  bool is(SocksCommand wanted) const noexcept {
    return command == static_cast<std::uint8_t>(wanted);
  }
};

// Nothing: more bytes are needed. bad_request: another version, a reserved byte that is not 0, an
// unknown kind of address, an empty name. Port 0 is left to the caller.
WireResult<std::optional<SocksRequest>> parse_socks_request(std::string_view bytes);

// RFC 1928 6. What a refusal answers stands in reply.h.
enum class SocksReply : std::uint8_t {
  succeeded = 0,
  general_failure = 1,
  not_allowed = 2,
  network_unreachable = 3,
  host_unreachable = 4,
  connection_refused = 5,
  ttl_expired = 6,
  command_not_supported = 7,
  address_type_not_supported = 8,
};

// Two bytes.
std::string socks_method_reply(SocksMethod chosen);
// Two bytes (RFC 1929 2). After a no the connection must be closed.
using Accepted = YesNo<struct AcceptedTag>;
std::string socks_password_reply(Accepted accepted);
// Ten bytes with the bound address 0.0.0.0:0, so that nothing of the way out is told.
std::string socks_reply(SocksReply reply);

}  // namespace sluice::proxy::wire
