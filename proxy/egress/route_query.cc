#include "proxy/egress/route_query.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
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

constexpr std::size_t places = 1024;
// Taken at once; what is left is news for the next question.
constexpr int most_news = 64;
// Enough for one: that there was more than it holds is told as well (ENOBUFS).
constexpr int news_bytes = 4096;

constexpr std::uint32_t group(rtnetlink_groups number) { return 1U << (number - 1); }
constexpr std::uint32_t all_news = group(RTNLGRP_LINK) | group(RTNLGRP_IPV4_IFADDR) |
                                   group(RTNLGRP_IPV4_ROUTE) | group(RTNLGRP_IPV4_RULE) |
                                   group(RTNLGRP_IPV4_NETCONF) | group(RTNLGRP_IPV6_IFADDR) |
                                   group(RTNLGRP_IPV6_ROUTE) | group(RTNLGRP_IPV6_RULE) |
                                   group(RTNLGRP_IPV6_NETCONF) | group(RTNLGRP_NEXTHOP);

Fd netlink_socket() {
  return Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
}

// Empty: the kernel will not tell.
Fd subscribe() {
  Fd socket = netlink_socket();
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &news_bytes, sizeof news_bytes);
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  to.nl_groups = all_news;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) socket.reset();
  return socket;
}

std::size_t place_number(const IpAddress& address) noexcept {
  std::uint64_t halves[2];
  std::memcpy(halves, address.bytes().data(), sizeof halves);
  const std::uint64_t mixed = (halves[0] ^ halves[1] * 31) * 0x9e37'79b9'7f4a'7c15U;
  return static_cast<std::size_t>(mixed >> 32) % places;
}

}  // namespace

RouteQuery::RouteQuery(Fd asking, Fd telling, Memory memory)
    : socket_(std::move(asking)),
      telling_(std::move(telling)),
      memory_(memory),
      known_(telling_ ? places : 0),
      round_began_(std::chrono::steady_clock::now()),
      settled_(round_began_ + memory.settling) {}

Result<RouteQuery> RouteQuery::open(Memory memory) {
  Fd socket = netlink_socket();
  if (!socket)
    return fail_errno(Errc::unavailable, "cannot open a netlink socket for route questions");
  return RouteQuery(std::move(socket), subscribe(), memory);
}

// Whatever there is but nothing: an overflow (ENOBUFS) and other errors hide a change.
bool RouteQuery::was_told() noexcept {
  for (int news = 0; news < most_news; ++news) {
    char some = 0;
    const ssize_t size = ::recv(telling_.get(), &some, sizeof some, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return news > 0;
  }
  return true;
}

// Null: nothing is remembered now.
RouteQuery::Known* RouteQuery::place_of(const IpAddress& address) noexcept {
  if (!telling_) return nullptr;
  const bool told = was_told();
  const Time now = std::chrono::steady_clock::now();
  if (told) settled_ = now + memory_.settling;
  if (told || now - round_began_ >= memory_.life) {
    round_began_ = now;
    if (++round_ == 0) std::fill(known_.begin(), known_.end(), Known());
  }
  return now >= settled_ ? &known_[place_number(address)] : nullptr;
}

// A change that the kernel does not tell of, or not in time, can uncover a local route behind
// another one: an IPv6 route that expires is gone without a word (RFC 4861 6.3.4), so of IPv6 only
// the answer is kept that refuses. Of IPv4 there is no such change that outlasts the settling.
allowlists::OnThisMachine RouteQuery::is_local(const IpAddress& address) noexcept {
  Known* const known = place_of(address);
  if (known != nullptr && known->round == round_ && known->address == address) return known->local;
  const Answer answer = ask(address);
  if (known != nullptr && answer.is_route && (address.is_v4() || bool(answer.local))) {
    *known = {address, answer.local, round_};
  }
  return answer.local;
}

RouteQuery::Answer RouteQuery::ask(const IpAddress& address) noexcept {
  using allowlists::OnThisMachine;
  ++asked_;
  const Question q = question(address, ++sequence_);
  if (::send(socket_.get(), &q, q.header.nlmsg_len, 0) < 0) return {};
  alignas(nlmsghdr) std::array<char, 4096> answer;
  for (;;) {
    const ssize_t size = ::recv(socket_.get(), answer.data(), answer.size(), 0);
    if (size < static_cast<ssize_t>(sizeof(nlmsghdr))) return {};
    nlmsghdr header;
    std::memcpy(&header, answer.data(), sizeof header);
    if (header.nlmsg_seq != sequence_) continue;  // the rest of an earlier, broken-off exchange
    if (header.nlmsg_type == NLMSG_ERROR &&
        size >= static_cast<ssize_t>(NLMSG_LENGTH(sizeof(int)))) {
      int error = 0;
      std::memcpy(&error, answer.data() + NLMSG_HDRLEN, sizeof error);
      // No route at all: connect() will say so itself, and cannot reach this machine.
      const bool no_route = error == -ENETUNREACH || error == -EHOSTUNREACH;
      return {.local = OnThisMachine(!no_route)};
    }
    if (header.nlmsg_type != RTM_NEWROUTE ||
        size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(rtmsg)))) {
      return {};
    }
    rtmsg route;
    std::memcpy(&route, answer.data() + NLMSG_HDRLEN, sizeof route);
    return {.local = OnThisMachine(route.rtm_type != RTN_UNICAST), .is_route = true};
  }
}

}  // namespace sluice::proxy
