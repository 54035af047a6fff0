#include "proxy/egress/route_query.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::proxy {
namespace {

struct Question {
  nlmsghdr header;
  rtmsg route;
  rtattr attribute;
  std::array<std::uint8_t, 16> address;
};

Question question(const IpAddress& address, unsigned sequence) {
  const std::size_t size = address.is_v4() ? 4 : 16;
  Question q{};
  q.header.nlmsg_len = static_cast<std::uint32_t>(offsetof(Question, address) + size);
  q.header.nlmsg_type = RTM_GETROUTE;
  q.header.nlmsg_flags = NLM_F_REQUEST;
  q.header.nlmsg_seq = sequence;
  q.route.rtm_family = address.is_v4() ? AF_INET : AF_INET6;
  q.route.rtm_dst_len = static_cast<std::uint8_t>(size * 8);
  q.attribute.rta_type = RTA_DST;
  q.attribute.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size));
  std::copy_n(address.bytes().begin(), size, q.address.begin());
  return q;
}

}  // namespace

Result<RouteQuery> RouteQuery::open() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!socket)
    return fail_errno(Errc::unavailable, "cannot open a netlink socket for route questions");
  return RouteQuery(std::move(socket));
}

allowlists::OnThisMachine RouteQuery::is_local(const IpAddress& address) noexcept {
  using allowlists::OnThisMachine;
  const Question q = question(address, ++sequence_);
  if (::send(socket_.get(), &q, q.header.nlmsg_len, 0) < 0) return OnThisMachine::yes;
  alignas(nlmsghdr) std::array<char, 4096> answer;
  for (;;) {
    const ssize_t size = ::recv(socket_.get(), answer.data(), answer.size(), 0);
    if (size < static_cast<ssize_t>(sizeof(nlmsghdr))) return OnThisMachine::yes;
    nlmsghdr header;
    std::memcpy(&header, answer.data(), sizeof header);
    if (header.nlmsg_seq != sequence_) continue;  // the rest of an earlier, broken-off exchange
    if (header.nlmsg_type == NLMSG_ERROR &&
        size >= static_cast<ssize_t>(NLMSG_LENGTH(sizeof(int)))) {
      int error = 0;
      std::memcpy(&error, answer.data() + NLMSG_HDRLEN, sizeof error);
      // No route at all: connect() will say so itself, and cannot reach this machine.
      const bool no_route = error == -ENETUNREACH || error == -EHOSTUNREACH;
      return OnThisMachine(!no_route);
    }
    if (header.nlmsg_type != RTM_NEWROUTE ||
        size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(rtmsg)))) {
      return OnThisMachine::yes;
    }
    rtmsg route;
    std::memcpy(&route, answer.data() + NLMSG_HDRLEN, sizeof route);
    return OnThisMachine(route.rtm_type != RTN_UNICAST);
  }
}

}  // namespace sluice::proxy
