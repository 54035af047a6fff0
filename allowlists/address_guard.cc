#include "allowlists/address_guard.h"

#include <algorithm>
#include <array>

namespace sluice::allowlists {
namespace {

struct RangeV4 {
  std::uint32_t network;
  unsigned length;
  AddressClass is;
};

// IANA IPv4 Special-Purpose Address Registry, multicast (RFC 5771) and metadata services. The first
// range that contains the address decides, so single addresses stand before the ranges around them.
constexpr std::array ranges_v4 = {
    RangeV4{0xa83f8110, 32, AddressClass::forbidden},  // 168.63.129.16: Azure's host agent
    RangeV4{0x646464c8, 32, AddressClass::forbidden},  // 100.100.100.200: Alibaba metadata
    RangeV4{0xc00000c0, 32, AddressClass::forbidden},  // 192.0.0.192: Oracle metadata
    RangeV4{0xffffffff, 32, AddressClass::forbidden},  // limited broadcast
    RangeV4{0x00000000, 8,
            AddressClass::forbidden},  // "this network": Linux connects 0.0.0.0 to itself
    RangeV4{0xa9fe0000, 16, AddressClass::forbidden},  // link-local, 169.254.169.254 among them
    RangeV4{0xe0000000, 4, AddressClass::forbidden},   // multicast
    RangeV4{synthetic_v4_network, synthetic_v4_length, AddressClass::forbidden},
    RangeV4{0x0a000000, 8, AddressClass::private_},   // RFC 1918
    RangeV4{0xac100000, 12, AddressClass::private_},  // RFC 1918
    RangeV4{0xc0a80000, 16, AddressClass::private_},  // RFC 1918
    RangeV4{0x7f000000, 8, AddressClass::private_},   // loopback
    RangeV4{0x64400000, 10, AddressClass::private_},  // carrier-grade NAT, RFC 6598
    RangeV4{0xc0000000, 24, AddressClass::private_},  // IETF protocol assignments
    RangeV4{0xc0000200, 24, AddressClass::private_},  // TEST-NET-1
    RangeV4{0xc6336400, 24, AddressClass::private_},  // TEST-NET-2
    RangeV4{0xcb007100, 24, AddressClass::private_},  // TEST-NET-3
    RangeV4{0xc0586300, 24, AddressClass::private_},  // 6to4 relay anycast, deprecated
    RangeV4{0xf0000000, 4, AddressClass::private_},   // reserved, RFC 1112; some clouds route it
};

struct RangeV6 {
  std::uint64_t high;
  std::uint64_t low;
  unsigned length;
  AddressClass is;
};

constexpr std::uint64_t word(const IpAddress::Bytes& bytes, std::size_t first) {
  std::uint64_t value = 0;
  for (std::size_t i = first; i < first + 8; ++i) value = value << 8 | bytes[i];
  return value;
}

// IANA IPv6 Special-Purpose Address Registry, metadata services and the synthetic range.
constexpr std::array ranges_v6 = {
    RangeV6{0xfd000ec200000000, 0x254, 128, AddressClass::forbidden},  // AWS metadata
    RangeV6{0xfd2000ce00000000, 0x254, 128, AddressClass::forbidden},  // Google metadata
    RangeV6{0, 0, 128, AddressClass::forbidden},                       // unspecified
    RangeV6{0xfe80000000000000, 0, 10, AddressClass::forbidden},       // link-local
    RangeV6{0xff00000000000000, 0, 8, AddressClass::forbidden},        // multicast
    RangeV6{word(synthetic_v6_network, 0), 0, synthetic_v6_length, AddressClass::forbidden},
    RangeV6{0x2001000000000000, 0, 23,
            AddressClass::private_},  // IETF protocol assignments, Teredo
    RangeV6{0x20010db800000000, 0, 32, AddressClass::private_},  // documentation
    RangeV6{0x2002000000000000, 0, 16, AddressClass::private_},  // 6to4
    RangeV6{0x3fff000000000000, 0, 20, AddressClass::private_},  // documentation, RFC 9637
    // The rest of 2000::/3 is global unicast (RFC 4291 2.4). All else that IANA has not assigned,
    // and loopback, ULA, NAT64, discard, SRv6 SIDs and the IPv4-mapped, is nothing the internet
    // routes.
    RangeV6{0x2000000000000000, 0, 3, AddressClass::open},
};

AddressClass own_class_v4(std::uint32_t value) noexcept {
  for (const RangeV4& range : ranges_v4) {
    if ((value ^ range.network) >> (32 - range.length) == 0) return range.is;
  }
  return AddressClass::open;
}

bool in_range(std::uint64_t high, std::uint64_t low, const RangeV6& range) noexcept {
  if (range.length <= 64) return (high ^ range.high) >> (64 - range.length) == 0;
  return high == range.high && (low ^ range.low) >> (128 - range.length) == 0;
}

AddressClass own_class_v6(const IpAddress::Bytes& bytes) noexcept {
  const std::uint64_t high = word(bytes, 0);
  const std::uint64_t low = word(bytes, 8);
  for (const RangeV6& range : ranges_v6) {
    if (in_range(high, low, range)) return range.is;
  }
  return AddressClass::private_;
}

// The IPv4 address in four bytes of an IPv6 address that need not be adjacent.
IpAddress pick(const IpAddress::Bytes& bytes, const std::array<std::size_t, 4>& at) noexcept {
  return IpAddress::v4(std::uint32_t{bytes[at[0]]} << 24 | std::uint32_t{bytes[at[1]]} << 16 |
                       std::uint32_t{bytes[at[2]]} << 8 | bytes[at[3]]);
}

void add(Embedded& found, const IpAddress& address) noexcept {
  found.address[found.count++] = address;
}

// 64:ff9b:1::/48 (RFC 8215) says nothing of the prefix length in use, so every position of RFC
// 6052 2.2 is read. A wrong guess at zero padding yields 0.0.0.0/8, which no translator sends
// anything to.
void add_local_nat64(Embedded& found, const IpAddress::Bytes& bytes) noexcept {
  constexpr std::array<std::array<std::size_t, 4>, 4> positions = {
      {{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, {12, 13, 14, 15}}};
  for (const auto& at : positions) {
    const IpAddress candidate = pick(bytes, at);
    if (candidate.v4_value() >> 24 != 0) add(found, candidate);
  }
}

constexpr std::array<std::size_t, 4> last_four = {12, 13, 14, 15};

// ::/96, ::ffff:0:0/96, ::ffff:0:0:0/96 and 64:ff9b::/96: the last 32 bits.
bool ends_in_ipv4(std::uint64_t high, std::uint64_t low) noexcept {
  if (high == 0x0064ff9b00000000) return low >> 32 == 0;
  if (high != 0) return false;
  if (low <= 1) return false;  // :: and ::1 are not 0.0.0.0 and 0.0.0.1
  return low >> 32 == 0 || low >> 32 == 0xffff || low >> 32 == 0xffff0000;
}

}  // namespace

Embedded embedded_ipv4(const IpAddress& address) noexcept {
  Embedded found;
  if (address.is_v4()) return found;
  const IpAddress::Bytes& bytes = address.bytes();
  const std::uint64_t high = word(bytes, 0);
  const std::uint64_t low = word(bytes, 8);
  if (ends_in_ipv4(high, low)) {
    add(found, pick(bytes, last_four));
    return found;
  }
  if (high >> 16 == 0x0064ff9b0001) {
    add_local_nat64(found, bytes);
    return found;
  }
  if (high >> 48 == 0x2002) add(found, pick(bytes, {2, 3, 4, 5}));
  if (high >> 32 == 0x20010000) {
    add(found, pick(bytes, {4, 5, 6, 7}));
    add(found, IpAddress::v4(~pick(bytes, last_four).v4_value()));  // RFC 4380 4: obfuscated
  }
  // ISATAP (RFC 5214 6.1), whatever the universal and group bits say.
  if ((low >> 32 & 0xfcffffff) == 0x5efe) add(found, pick(bytes, last_four));
  return found;
}

AddressClass own_class(const IpAddress& address) noexcept {
  return address.is_v4() ? own_class_v4(address.v4_value()) : own_class_v6(address.bytes());
}

AddressClass classify(const IpAddress& address) noexcept {
  AddressClass strictest = own_class(address);
  const Embedded inside = embedded_ipv4(address);
  for (std::size_t i = 0; i < inside.count; ++i) {
    strictest = std::max(strictest, own_class(inside.address[i]));
  }
  return strictest;
}

std::vector<Cidr> classified_ranges() {
  std::vector<Cidr> ranges;
  ranges.reserve(ranges_v4.size() + ranges_v6.size());
  for (const RangeV4& range : ranges_v4) {
    ranges.push_back({IpAddress::v4(range.network), static_cast<std::uint8_t>(range.length)});
  }
  for (const RangeV6& range : ranges_v6) {
    IpAddress::Bytes bytes{};
    for (unsigned i = 0; i < 8; ++i) {
      bytes[i] = static_cast<std::uint8_t>(range.high >> (56 - 8 * i));
      bytes[8 + i] = static_cast<std::uint8_t>(range.low >> (56 - 8 * i));
    }
    ranges.push_back({IpAddress::v6(bytes), static_cast<std::uint8_t>(range.length)});
  }
  return ranges;
}

bool is_synthetic(const IpAddress& address) noexcept {
  if (address.is_v4()) {
    return (address.v4_value() ^ synthetic_v4_network) >> (32 - synthetic_v4_length) == 0;
  }
  return word(address.bytes(), 0) == word(synthetic_v6_network, 0);
}

IpAddress synthetic_v4(std::uint32_t index) noexcept {
  return IpAddress::v4(synthetic_v4_network + index);
}

IpAddress synthetic_v6(std::uint32_t index) noexcept {
  IpAddress::Bytes bytes = synthetic_v6_network;
  for (std::size_t i = 0; i < 4; ++i) bytes[15 - i] = static_cast<std::uint8_t>(index >> 8 * i);
  return IpAddress::v6(bytes);
}

std::optional<std::uint32_t> synthetic_index(const IpAddress& address) noexcept {
  if (!is_synthetic(address)) return {};
  const std::uint64_t index =
      address.is_v4() ? address.v4_value() - synthetic_v4_network : word(address.bytes(), 8);
  if (index == 0 || index > last_synthetic_index) return {};
  return static_cast<std::uint32_t>(index);
}

}  // namespace sluice::allowlists
