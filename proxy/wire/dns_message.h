// Reads the one question of a DNS query and builds every answer the agent can get (RFC 1035, 6891,
// 8914).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/ip_address.h"

namespace sluice::proxy::wire {

inline constexpr std::uint16_t dns_type_a = 1;
inline constexpr std::uint16_t dns_type_aaaa = 28;
inline constexpr std::uint16_t dns_type_any = 255;
inline constexpr std::uint16_t dns_class_in = 1;

// Of every negative answer, in seconds: short, because a reload may open the name.
inline constexpr std::uint32_t dns_negative_ttl = 5;

enum class DnsRcode : std::uint8_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,
  not_implemented = 4,
  bad_version = 16,  // RFC 6891 6.1.3: its upper bits travel in the OPT record
};

// RFC 8914 4.
enum class DnsEde : std::uint16_t { other = 0, filtered = 17 };

enum class DnsTransport : std::uint8_t { udp, tcp };

struct DnsQuery {
  std::uint16_t id = 0;
  bool recursion_desired = false;
  bool checking_disabled = false;
  // Labels joined by dots, no trailing dot, case kept; "." for the root. Bytes other than letters,
  // digits, '-' and '_' are spelled \DDD, so that Host::parse refuses them.
  std::string name;
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  bool edns = false;
  bool dnssec_ok = false;
  std::uint16_t udp_size = 512;  // what the client can take over UDP: 512 … 4096
  std::string question;          // the bytes of the question section, for the answer to repeat
};

// A message that is no query we answer. `reply` is what to send back; empty: send nothing.
struct DnsBroken {
  std::string reply;
  std::string why;
};

// One whole message (over TCP: without the two length bytes). Nothing is sent for what is shorter
// than a header or is itself a response. FORMERR: not exactly one question, a compression pointer
// in it, a name over 255 bytes, records where a query has none, two OPT records, bytes left over.
// NOTIMP: another opcode than QUERY. BADVERS: EDNS other than version 0.
tl::expected<DnsQuery, DnsBroken> parse_dns_query(std::span<const std::uint8_t> message);

// Each builder answers `query` in whole: a message that is too large for UDP loses its records and
// gets the TC bit, so that the client comes back over TCP (which carries at most 65535 bytes).

// The addresses as A or AAAA records, each of its own kind; `ttl` in seconds.
std::string dns_addresses(const DnsQuery& query, std::span<const IpAddress> addresses,
                          std::uint32_t ttl, DnsTransport transport);
// The name exists, a record of this type does not.
std::string dns_no_data(const DnsQuery& query, DnsTransport transport);
// NXDOMAIN; a client that speaks EDNS also gets `sentence` as extended error 17, Filtered.
std::string dns_name_error(const DnsQuery& query, std::string_view sentence,
                           DnsTransport transport);
// SERVFAIL; with EDNS also `sentence` as extended error 0, Other.
std::string dns_server_failure(const DnsQuery& query, std::string_view sentence,
                               DnsTransport transport);
std::string dns_format_error(const DnsQuery& query, DnsTransport transport);
std::string dns_not_implemented(const DnsQuery& query, DnsTransport transport);

}  // namespace sluice::proxy::wire
