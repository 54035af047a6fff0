#include "base/ip_address.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace sluice {
namespace {

bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned length) {
  const unsigned whole = length / 8;
  if (!std::equal(a.bytes().begin(), a.bytes().begin() + whole, b.bytes().begin())) return false;
  const unsigned rest = length % 8;
  if (rest == 0) return true;
  const unsigned mask = 0xffU << (8 - rest) & 0xffU;
  return (a.bytes()[whole] & mask) == (b.bytes()[whole] & mask);
}

bool host_bits_clear(const IpAddress& network, unsigned length) {
  const unsigned total = network.is_v4() ? 32 : 128;
  for (unsigned bit = length; bit < total; ++bit) {
    if (network.bytes()[bit / 8] & (0x80U >> bit % 8)) return false;
  }
  return true;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) return {};
  std::copy(text.begin(), text.end(), terminated.begin());
  if (text.find(':') == std::string_view::npos) {
    // glibc's inet_pton(3) accepts leading zeros ("010.0.0.1"), which others read as octal.
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
      const bool starts_octet = i == 0 || text[i - 1] == '.';
      if (starts_octet && text[i] == '0' && text[i + 1] != '.') return {};
    }
    in_addr address{};
    if (::inet_pton(AF_INET, terminated.data(), &address) != 1) return {};
    return v4(ntohl(address.s_addr));
  }
  Bytes bytes;
  if (::inet_pton(AF_INET6, terminated.data(), bytes.data()) != 1) return {};
  return v6(bytes);
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (!is_v4_) {
    ::inet_ntop(AF_INET6, bytes_.data(), text.data(), text.size());
    return text.data();
  }
  // inet_ntop(3) takes sprintf(3) for these, which costs as much as the rest of an audit line.
  char* end = text.data();
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0) *end++ = '.';
    end = std::to_chars(end, text.data() + text.size(), bytes_[i]).ptr;
  }
  return {text.data(), end};
}

std::optional<Cidr> Cidr::parse(std::string_view text) noexcept {
  const std::size_t slash = text.find('/');
  const auto network = IpAddress::parse(text.substr(0, slash));
  if (!network) return {};
  const unsigned total = network->is_v4() ? 32 : 128;
  unsigned length = total;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    if (digits.empty() || (digits.size() > 1 && digits[0] == '0')) return {};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc() || end != digits.data() + digits.size() || length > total) return {};
  }
  if (!host_bits_clear(*network, length)) return {};
  return Cidr{*network, static_cast<std::uint8_t>(length)};
}

Cidr Cidr::around(const IpAddress& address, std::uint8_t length) noexcept {
  if (address.is_v4()) {
    const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
    return {IpAddress::v4(address.v4_value() & mask), length};
  }
  IpAddress::Bytes bytes = address.bytes();
  for (unsigned i = 0; i < bytes.size(); ++i) {
    const unsigned kept = length <= 8 * i ? 0 : std::min(8U, length - 8 * i);
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00U >> kept));
  }
  return {IpAddress::v6(bytes), length};
}

bool Cidr::contains(const IpAddress& address) const noexcept {
  return address.is_v4() == network.is_v4() && same_prefix(network, address, length);
}

bool Cidr::overlaps(const Cidr& other) const noexcept {
  return network.is_v4() == other.network.is_v4() &&
         same_prefix(network, other.network, std::min(length, other.length));
}

std::string Cidr::to_string() const { return fmt::format("{}/{}", network.to_string(), length); }

}  // namespace sluice
