// Knows which addresses no name may lead to: metadata, link-local, private, and every embedding of
// them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ip_address.h"

namespace sluice::allowlists {

// What an address is, whatever any rule says.
enum class AddressClass : std::uint8_t {
  open,       // globally reachable unicast: only the policy's rules speak about it
  private_,   // needs a cidr rule of the agent that covers address and port
  forbidden,  // never dialled
};

// By the address itself and by every IPv4 address embedded in it (mapped, compatible, NAT64
// well-known and local-use, 6to4, Teredo server and client, ISATAP): the strictest of them decides.
// Sources: the IANA IPv4 and IPv6 special-purpose registries (RFC 6890) and the metadata services
// of the large clouds.
AddressClass classify(const IpAddress& address) noexcept;

// By the address itself alone, without what is embedded in it.
AddressClass own_class(const IpAddress& address) noexcept;

// Every range that own_class() tells apart from what is around it.
std::vector<Cidr> classified_ranges();

// The IPv4 addresses embedded in an IPv6 address by any transition mechanism; empty for most.
struct Embedded {
  std::array<IpAddress, 4> address;
  std::size_t count = 0;
};
Embedded embedded_ipv4(const IpAddress& address) noexcept;

// The ranges that the synthetic DNS answers from; no rule may name them and nobody dials them.
inline constexpr std::uint32_t synthetic_v4_network = 0xc6120000;  // 198.18.0.0
inline constexpr unsigned synthetic_v4_length = 15;
// fd73:6c75:6963::/64 ("sluic")
inline constexpr IpAddress::Bytes synthetic_v6_network = {0xfd, 0x73, 0x6c, 0x75, 0x69, 0x63, 0, 0,
                                                          0,    0,    0,    0,    0,    0,    0, 0};
inline constexpr unsigned synthetic_v6_length = 64;
inline constexpr std::uint32_t last_synthetic_index = 131070;  // 198.19.255.254

bool is_synthetic(const IpAddress& address) noexcept;
// 198.18.0.0 + index and fd73:6c75:6963:: + index, index in 1 … 131070.
IpAddress synthetic_v4(std::uint32_t index) noexcept;
IpAddress synthetic_v6(std::uint32_t index) noexcept;
// The index an address of the synthetic ranges stands for; nothing for one that cannot have been
// given out.
std::optional<std::uint32_t> synthetic_index(const IpAddress& address) noexcept;

}  // namespace sluice::allowlists
