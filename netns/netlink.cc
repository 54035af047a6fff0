#include "netns/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

namespace sluice::netns {
namespace {

// What the kernel fills at most for one read of a dump (net/netlink/af_netlink.c, netlink_dump).
constexpr std::size_t dump_bytes = std::size_t{32} * 1024;

using Each = std::function<void(const nlmsghdr&)>;

int call_each(const nlmsghdr* message, void* data) {
  (*static_cast<const Each*>(data))(*message);
  return MNL_CB_OK;
}

Failure fail_netlink(std::string_view what) {
  if (errno == EPERM || errno == EACCES) {
    return fail_errno(Errc::not_permitted, what,
                      "this needs CAP_NET_ADMIN in the user namespace that owns the network");
  }
  return fail_errno(Errc::unavailable, what);
}

}  // namespace

nlmsghdr* NetlinkRequest::start(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr* message = mnl_nlmsg_put_header(bytes.data());
  message->nlmsg_type = type;
  message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  return message;
}

Result<Netlink> Netlink::open(int family) {
  mnl_socket* socket = mnl_socket_open2(family, SOCK_CLOEXEC);
  if (socket == nullptr) return fail_errno(Errc::unavailable, "cannot open a netlink socket");
  Netlink opened(socket);
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno(Errc::unavailable, "cannot bind a netlink socket");
  }
  return opened;
}

Result<Netlink> Netlink::adopt(Fd socket) {
  mnl_socket* adopted = mnl_socket_fdopen(socket.get());
  if (adopted == nullptr) return fail_errno(Errc::unavailable, "cannot use a netlink socket");
  (void)socket.release();
  return Netlink(adopted);
}

Failure Netlink::failed(std::string_view what) {
  error_number_ = errno;
  return fail_netlink(what);
}

Result<void> Netlink::send(NetlinkRequest& request, std::string_view what) {
  request.header()->nlmsg_seq = ++sequence_;
  const nlmsghdr* message = request.header();
  if (mnl_socket_sendto(socket_.get(), message, message->nlmsg_len) < 0) return failed(what);
  return {};
}

Result<void> Netlink::change(NetlinkRequest& request, std::string_view what) {
  request.header()->nlmsg_flags |= NLM_F_ACK;
  return dump(request, what, [](const nlmsghdr&) {});
}

Result<void> Netlink::add(NetlinkRequest& request, std::string_view what) {
  request.header()->nlmsg_flags |= NLM_F_CREATE | NLM_F_EXCL;
  auto added = change(request, what);
  return !added && error_number_ == EEXIST ? Result<void>() : added;
}

Result<void> Netlink::remove(NetlinkRequest& request, std::string_view what) {
  auto removed = change(request, what);
  return !removed && error_number_ == ENOENT ? Result<void>() : removed;
}

Result<void> Netlink::dump(NetlinkRequest& request, std::string_view what, const Each& each) {
  if (auto sent = send(request, what); !sent) return sent;
  std::vector<char> buffer(dump_bytes);
  for (;;) {
    const ssize_t size = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    if (size < 0) return failed(what);
    const int more =
        mnl_cb_run(buffer.data(), static_cast<std::size_t>(size), sequence_,
                   mnl_socket_get_portid(socket_.get()), call_each, const_cast<Each*>(&each));
    if (more < 0) return failed(what);
    if (more == MNL_CB_STOP) return {};
  }
}

}  // namespace sluice::netns
