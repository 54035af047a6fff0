#include "netns/attach/watch.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "netns/namespace.h"

namespace sluice::netns {
namespace {

constexpr std::array groups{RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
// lo is the first device of every network namespace (net/core/net_namespace.c, LOOPBACK_IFINDEX).
constexpr std::uint32_t loopback_index = 1;

Result<Fd> subscribe() {
  Fd news(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (!news || ::bind(news.get(), reinterpret_cast<const sockaddr*>(&self), sizeof(self)) != 0) {
    return fail_errno(Errc::unavailable, "cannot open a netlink socket");
  }
  for (const int group : groups) {
    if (::setsockopt(news.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) {
      return fail_errno(Errc::unavailable, "cannot watch links and routes");
    }
  }
  return news;
}

void take_news(int news) {
  std::array<char, 8192> ignored;
  // ENOBUFS, news lost, is news as well: the caller looks at everything.
  while (::recv(news, ignored.data(), ignored.size(), MSG_TRUNC) >= 0 || errno == ENOBUFS ||
         errno == EINTR) {
  }
}

struct Route {
  const nlattr* destination = nullptr;
  std::uint32_t link = 0;
};

int read_attribute(const nlattr* attribute, void* data) {
  auto* route = static_cast<Route*>(data);
  if (mnl_attr_get_type(attribute) == RTA_DST) route->destination = attribute;
  if (mnl_attr_get_type(attribute) == RTA_OIF) route->link = mnl_attr_get_u32(attribute);
  return MNL_CB_OK;
}

std::string destination_text(const rtmsg& route, const nlattr* destination) {
  if (destination == nullptr) return "default";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::inet_ntop(route.rtm_family, mnl_attr_get_payload(destination), text.data(), text.size()) ==
      nullptr) {
    return "?";
  }
  return fmt::format("{}/{}", text.data(), route.rtm_dst_len);
}

// A unicast route over anything but lo, also over several links or a next-hop object, which name
// none.
std::optional<std::string> way_out(const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWROUTE) return std::nullopt;
  const auto* const about = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&message));
  if (about->rtm_family != AF_INET && about->rtm_family != AF_INET6) return std::nullopt;
  Route route;
  mnl_attr_parse(&message, sizeof(rtmsg), read_attribute, &route);
  if (about->rtm_type != RTN_UNICAST || route.link == loopback_index) return std::nullopt;
  return fmt::format("the network namespace has the route '{}' over another link than lo",
                     destination_text(*about, route.destination));
}

Result<std::optional<std::string>> find_route(Netlink& netlink) {
  NetlinkRequest request;
  nlmsghdr* const message = request.start(RTM_GETROUTE, NLM_F_DUMP);
  mnl_nlmsg_put_extra_header(message, sizeof(rtmsg));  // all zero: each family, every table
  std::optional<std::string> found;
  auto done = netlink.dump(request, "cannot list routes", [&](const nlmsghdr& answer) {
    if (!found) found = way_out(answer);
  });
  if (!done) return Failure(done.error());
  return found;
}

}  // namespace

Result<std::vector<Fd>> WayOutWatch::open_sockets() {
  auto news = subscribe();
  if (!news) return Failure(news.error());
  Fd questions(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (!questions ||
      ::bind(questions.get(), reinterpret_cast<const sockaddr*>(&self), sizeof(self)) != 0) {
    return fail_errno(Errc::unavailable, "cannot open a netlink socket");
  }
  std::vector<Fd> sockets;
  sockets.push_back(std::move(*news));
  sockets.push_back(std::move(questions));
  return sockets;
}

Result<WayOutWatch> WayOutWatch::adopt(Fd news, Fd questions) {
  auto netlink = Netlink::adopt(std::move(questions));
  if (!netlink) return Failure(netlink.error());
  return WayOutWatch(std::move(news), std::move(*netlink));
}

Result<std::optional<std::string>> WayOutWatch::look() {
  take_news(news_.get());
  const auto links = list_links(questions_);
  if (!links) return Failure(links.error());
  if (const auto none = require_no_way_out(*links); !none) {
    if (none.error().code != Errc::not_permitted) return Failure(none.error());
    return std::optional(none.error().what);
  }
  return find_route(questions_);
}

}  // namespace sluice::netns
