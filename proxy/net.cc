#include "proxy/net.h"

namespace sluice::proxy {

IpAddress from_asio(const asio::ip::address& address) noexcept {
  if (address.is_v4()) return IpAddress::v4(address.to_v4().to_uint());
  const asio::ip::address_v6 v6 = address.to_v6();
  if (v6.is_v4_mapped()) {
    return IpAddress::v4(asio::ip::make_address_v4(asio::ip::v4_mapped, v6).to_uint());
  }
  return IpAddress::v6(v6.to_bytes());
}

asio::ip::address to_asio(const IpAddress& address) noexcept {
  if (address.is_v4()) return asio::ip::address_v4(address.v4_value());
  return asio::ip::address_v6(address.bytes());
}

}  // namespace sluice::proxy
