#include "netns/handover.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::netns {
namespace {

constexpr std::size_t max_descriptors = max_sockets_per_message;

// cmsg(3): control data must be aligned as cmsghdr is.
struct Control {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(max_descriptors * sizeof(int))> bytes{};
};

std::vector<Fd> take_descriptors(msghdr& message) {
  std::vector<Fd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
  return fds;
}

void put_descriptors(msghdr& message, Control& control, const std::vector<int>& fds) {
  message.msg_control = control.bytes.data();
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
}

Result<void> require_whole(const msghdr& message, const Packet& packet) {
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    return fail(Errc::not_permitted,
                fmt::format("handover message is longer than {} bytes", max_message));
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return fail(Errc::not_permitted,
                fmt::format("handover message has more than {} descriptors, or none are left here",
                            max_descriptors));
  }
  if (packet.bytes.empty() && !packet.fds.empty()) {
    return fail(Errc::not_permitted, "handover message has descriptors and no text");
  }
  return {};
}

}  // namespace

std::string_view role_name(Role role) noexcept {
  switch (role) {
    case Role::tproxy4:
      return "tproxy4";
    case Role::tproxy6:
      return "tproxy6";
    case Role::dns_udp:
      return "dns_udp";
    case Role::dns_tcp:
      return "dns_tcp";
    case Role::port:
      return "port";
    case Role::proxy:
      break;
  }
  return "proxy";
}

Result<void> send_packet(int socket, std::string_view bytes, const std::vector<int>& fds) {
  // An empty packet reads like the end of the connection.
  if (bytes.empty() || bytes.size() > max_message || fds.size() > max_descriptors) {
    return fail(Errc::bug, fmt::format("a packet of {} bytes and {} descriptors cannot be sent",
                                       bytes.size(), fds.size()));
  }
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Control control;
  if (!fds.empty()) put_descriptors(message, control, fds);
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail_errno(Errc::unavailable, "cannot send a handover message");
  return {};
}

Result<std::optional<Packet>> receive_packet(int socket) {
  Packet packet;
  packet.bytes.resize(max_message);
  iovec part{packet.bytes.data(), packet.bytes.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t size = -1;
  // unix(7): the other side closed while something of ours was unread. That is told once, before
  // what it had said.
  bool was_reset = false;
  do {
    size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 &&
           (errno == EINTR || (errno == ECONNRESET && !std::exchange(was_reset, true))));
  if (size < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (errno == ECONNRESET) return Packet{{}, {}, true};
    return fail_errno(Errc::unavailable, "cannot receive a handover message");
  }
  packet.fds = take_descriptors(message);
  packet.bytes.resize(std::min(static_cast<std::size_t>(size), max_message));
  if (auto whole = require_whole(message, packet); !whole) return Failure(whole.error());
  packet.closed = packet.bytes.empty();
  return packet;
}

Result<std::pair<Fd, Fd>> socket_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_errno(Errc::unavailable, "cannot make a socket pair");
  }
  return std::pair(Fd(ends[0]), Fd(ends[1]));
}

}  // namespace sluice::netns
