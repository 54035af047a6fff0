// An IPv4 or IPv6 address and a range of them: one type for both, so nothing is judged twice.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

class IpAddress {
 public:
  using Bytes = std::array<std::uint8_t, 16>;

  // 0.0.0.0
  constexpr IpAddress() = default;

  // Host byte order: v4(0x7f000001) is 127.0.0.1.
  static constexpr IpAddress v4(std::uint32_t value) noexcept {
    IpAddress address;
    address.bytes_ = {static_cast<std::uint8_t>(value >> 24),
                      static_cast<std::uint8_t>(value >> 16), static_cast<std::uint8_t>(value >> 8),
                      static_cast<std::uint8_t>(value)};
    return address;
  }
  static constexpr IpAddress v6(const Bytes& bytes) noexcept {
    IpAddress address;
    address.bytes_ = bytes;
    address.is_v4_ = false;
    return address;
  }
  // Four decimal octets without leading zeros, or the text forms of RFC 4291 2.2. No zone, no
  // brackets, no octal, hexadecimal or shortened IPv4.
  static std::optional<IpAddress> parse(std::string_view text) noexcept;

  constexpr bool is_v4() const noexcept { return is_v4_; }
  // For is_v4(): host byte order.
  constexpr std::uint32_t v4_value() const noexcept {
    return std::uint32_t{bytes_[0]} << 24 | std::uint32_t{bytes_[1]} << 16 |
           std::uint32_t{bytes_[2]} << 8 | bytes_[3];
  }
  // Network byte order; only the first four count for is_v4().
  constexpr const Bytes& bytes() const noexcept { return bytes_; }
  // RFC 5952 form.
  std::string to_string() const;

  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  Bytes bytes_{};
  bool is_v4_ = true;
};

// A CIDR range (RFC 4632). Bits below `length` in `network` are zero.
struct Cidr {
  IpAddress network;
  std::uint8_t length = 0;

  // "10.0.0.0/8", "fc00::/7", or a bare address (a range of one). Set host bits are not cleared but
  // refused: 10.0.0.1/8 is a typing error.
  static std::optional<Cidr> parse(std::string_view text) noexcept;
  // The range of `length` that `address` is in: its bits behind `length` cleared.
  static Cidr around(const IpAddress& address, std::uint8_t length) noexcept;
  bool contains(const IpAddress& address) const noexcept;
  bool overlaps(const Cidr& other) const noexcept;
  std::string to_string() const;

  friend bool operator==(const Cidr&, const Cidr&) = default;
};

}  // namespace sluice
