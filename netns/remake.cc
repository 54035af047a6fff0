#include "netns/remake.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <functional>

#include "netns/inside.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

using Open = std::function<Result<std::vector<RoleSocket>>()>;

Result<std::vector<RoleSocket>> open_in(int network_namespace, const Open& open) {
  auto brought = do_inside(network_namespace, [&]() -> Result<Brought> {
    return open().map([](std::vector<RoleSocket> sockets) {
      return Brought{"", std::move(sockets), {}};
    });
  });
  if (!brought) return Failure(brought.error());
  return std::move(brought->sockets);
}

}  // namespace

Result<Fd> namespace_of(int socket) {
  Fd its_namespace(::ioctl(socket, SIOCGSKNS));
  if (!its_namespace) return fail_errno(Errc::not_permitted, "cannot keep a network namespace");
  return its_namespace;
}

Result<std::vector<RoleSocket>> open_listeners_in(int network_namespace) {
  return open_in(network_namespace, open_listeners);
}

Result<std::vector<RoleSocket>> open_port_listeners_in(int network_namespace,
                                                       const std::vector<std::uint16_t>& ports) {
  return open_in(network_namespace, [&] { return open_port_listeners(ports); });
}

}  // namespace sluice::netns
