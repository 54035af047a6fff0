// Reads from the kernel how many datagrams of an agent were refused.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/fd.h"
#include "netns/netlink.h"

namespace sluice::netns {

class RefusedUdp {
 public:
  // A netlink socket of the calling thread's network namespace, which must have the capture rules
  // (load_capture_rules()) and over which the caller has CAP_NET_ADMIN.
  static Result<RefusedUdp> open();
  // The socket of such a one, to be handed to whoever shall read(): outside the namespace is where
  // the agent cannot reach it. It keeps the namespace alive.
  static Result<Fd> open_socket();
  // The socket of another process's open_socket(), received as a descriptor.
  static Result<RefusedUdp> adopt(Fd socket);

  // Datagrams since the rules were loaded. Answered by the kernel at once, no waiting. The kernel
  // asks for CAP_NET_ADMIN over the namespace of who opened the socket, and of who calls this: root
  // and the user who made its user namespace have it.
  Result<std::uint64_t> read();

 private:
  explicit RefusedUdp(Netlink netlink) : netlink_(std::move(netlink)) {}
  Result<std::uint64_t> read(std::uint8_t family);

  Netlink netlink_;
};

}  // namespace sluice::netns
