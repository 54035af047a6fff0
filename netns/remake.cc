#include "netns/remake.h"

#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

Result<std::vector<RoleSocket>> enter_and_open(int network_namespace) {
  const Fd owner(::ioctl(network_namespace, NS_GET_USERNS));
  if (!owner) return fail_errno(Errc::not_permitted, "cannot find the agent's user namespace");
  if (::setns(owner.get(), CLONE_NEWUSER) != 0 || ::setns(network_namespace, CLONE_NEWNET) != 0) {
    return fail_errno(Errc::not_permitted, "cannot enter the agent's network namespace");
  }
  return open_listeners();
}

// The sentence of an error, or "ok" with the sockets.
[[noreturn]] void answer(int to, int network_namespace) {
  const auto sockets = enter_and_open(network_namespace);
  std::vector<int> fds;
  if (sockets) {
    for (const RoleSocket& socket : *sockets) fds.push_back(socket.fd.get());
  }
  (void)send_packet(to, sockets ? std::string_view("ok") : sockets.error().what, fds);
  ::_exit(0);
}

}  // namespace

Result<Fd> namespace_of(int socket) {
  Fd its_namespace(::ioctl(socket, SIOCGSKNS));
  if (!its_namespace) return fail_errno(Errc::not_permitted, "cannot keep a network namespace");
  return its_namespace;
}

Result<std::vector<RoleSocket>> open_listeners_in(int network_namespace) {
  auto ends = socket_pair();
  if (!ends) return Failure(ends.error());
  const pid_t child = ::fork();
  if (child < 0) return fail_errno(Errc::unavailable, "fork");
  if (child == 0) answer(ends->second.get(), network_namespace);
  ends->second.reset();
  auto packet = receive_packet(ends->first.get());
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!packet) return Failure(packet.error());
  if (!*packet || (*packet)->closed || (*packet)->fds.size() != role_count) {
    const bool told = *packet && !(*packet)->closed;
    return fail(Errc::unavailable,
                told ? text::printable((*packet)->bytes) : "the child that opens listeners died");
  }
  std::vector<RoleSocket> sockets;
  for (std::size_t i = 0; i < role_count; ++i) {
    sockets.push_back({static_cast<Role>(i), std::move((*packet)->fds[i])});
  }
  return sockets;
}

}  // namespace sluice::netns
