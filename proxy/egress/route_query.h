// Asks the kernel whether an address is one of this machine's own, at the moment of a dial.
#pragma once

#include "allowlists/policy.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/ip_address.h"

namespace sluice::proxy {

// One netlink socket of a thread (rtnetlink(7)). The kernel answers within the send, so nothing
// waits.
class RouteQuery {
 public:
  // Opens the socket. Opening needs no privilege.
  static Result<RouteQuery> open();

  // Yes when the route to the address is of type local (RTM_GETROUTE), and also when the kernel's
  // answer cannot be had: an address nobody could judge is treated as the machine's own.
  allowlists::OnThisMachine is_local(const IpAddress& address) noexcept;

 private:
  explicit RouteQuery(Fd socket) noexcept : socket_(std::move(socket)) {}
  Fd socket_;
  unsigned sequence_ = 0;
};

}  // namespace sluice::proxy
