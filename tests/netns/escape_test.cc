// What an agent with full capabilities in a user namespace of its own can do to links, routes and
// namespaces: nothing that a capture around its network would see.
#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/xfrm.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "captivity.h"

namespace sluice::netns::test {
namespace {

TEST(Escape, NoLinkOfAnyKindCanBeAdded) {
  in_captivity([](Network&, pid_t outside) {
    for (const char* kind : {"veth", "dummy",  "bridge", "macvlan", "ipvlan",    "ipip", "gre",
                             "sit",  "ip6tnl", "vxlan",  "geneve",  "wireguard", "vlan", "tun",
                             "ifb",  "vrf",    "bond",   "xfrm",    "nlmon",     "vcan"}) {
      expect(kind, told(add_link_errno(kind, "esc0")), {"EPERM"});
    }
    for (const pid_t peer : {outside, ::getpid()}) {
      expect("veth with its peer elsewhere", told(add_link_errno("veth", "esc0", peer)), {"EPERM"});
    }
    const Fd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request{};
    std::strcpy(request.ifr_name, "tun0");
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    expect("tun", tun ? told_result(::ioctl(tun.get(), TUNSETIFF, &request)) : told(errno),
           {"EPERM", "ENOENT", "EACCES", "ENODEV"});
  });
}

TEST(Escape, RoutesAddressesRulesAndNeighboursStayAsTheyAre) {
  in_captivity([](Network&, pid_t) {
    for (const std::uint16_t type : {RTM_NEWROUTE, RTM_DELROUTE}) {
      Message message(type, NLM_F_CREATE);
      auto* route = message.put<rtmsg>();
      route->rtm_family = AF_INET;
      route->rtm_table = RT_TABLE_LOCAL;
      mnl_attr_put_u32(message.header, RTA_OIF, 1);
      expect("route", told(message.send()), {"EPERM"});
    }
    for (const std::uint16_t type : {RTM_NEWADDR, RTM_DELADDR}) {
      Message message(type, NLM_F_CREATE);
      auto* info = message.put<ifaddrmsg>();
      info->ifa_family = AF_INET;
      info->ifa_prefixlen = 8;
      info->ifa_index = 1;
      mnl_attr_put_u32(message.header, IFA_LOCAL, htonl(INADDR_LOOPBACK));
      expect("address", told(message.send()), {"EPERM"});
    }
    for (const std::uint16_t type :
         {RTM_NEWRULE, RTM_NEWNEIGH, RTM_NEWQDISC, RTM_NEWTFILTER, RTM_NEWNSID, RTM_NEWNEXTHOP}) {
      Message message(type, NLM_F_CREATE);
      message.put<tcmsg>();  // the longest of their headers
      expect("rule, neighbour, qdisc, filter, namespace id, next hop", told(message.send()),
             {"EPERM"});
    }
    Message down(RTM_NEWLINK, 0);
    auto* info = down.put<ifinfomsg>();
    info->ifi_index = 1;
    info->ifi_change = IFF_UP;
    expect("lo down", told(down.send()), {"EPERM"});
  });
}

// From a network namespace of its own, where it may do anything, into the one it was put in.
TEST(Escape, DevicesOfItsOwnNamespacesCannotBeMovedIntoTheNetwork) {
  in_captivity([](Network&, pid_t outside) {
    const Fd home(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(home);
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << strerrordesc_np(errno);
    ASSERT_EQ(add_link_errno("veth", "own0"), 0) << "its own namespace is its own";
    Message move(RTM_NEWLINK, 0);
    move.put<ifinfomsg>()->ifi_index = static_cast<int>(::if_nametoindex("own0"));
    mnl_attr_put_u32(move.header, IFLA_NET_NS_FD, static_cast<std::uint32_t>(home.get()));
    expect("move by descriptor", told(move.send()), {"EPERM"});
    Message away(RTM_NEWLINK, 0);
    away.put<ifinfomsg>()->ifi_index = static_cast<int>(::if_nametoindex("own0"));
    mnl_attr_put_u32(away.header, IFLA_NET_NS_PID, static_cast<std::uint32_t>(outside));
    expect("move by pid", told(away.send()), {"EPERM", "ESRCH"});
    // And back: setns(2) asks for CAP_SYS_ADMIN over the namespace's owner.
    expect("setns back", told_result(::setns(home.get(), CLONE_NEWNET)), {"EPERM"});
  });
}

TEST(Escape, NamespacesOfOthersCannotBeEntered) {
  in_captivity([](Network&, pid_t outside) {
    for (const pid_t pid : {outside, ::getppid(), pid_t{1}}) {
      const Fd theirs(::open(fmt::format("/proc/{}/ns/net", pid).c_str(), O_RDONLY | O_CLOEXEC));
      expect("by path", theirs ? told_result(::setns(theirs.get(), CLONE_NEWNET)) : told(errno),
             {"EACCES", "EPERM"});
      const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      expect("by pidfd", pidfd ? told_result(::setns(pidfd.get(), CLONE_NEWNET)) : told(errno),
             {"EPERM", "EACCES"});
    }
  });
}

TEST(Escape, OtherNetlinkFamiliesChangeNothing) {
  in_captivity([](Network&, pid_t) {
    Message destroy(SOCK_DESTROY, 0);
    auto* request = destroy.put<inet_diag_req_v2>();
    request->sdiag_family = AF_INET;
    request->sdiag_protocol = IPPROTO_TCP;
    request->idiag_states = ~0U;
    request->id.idiag_sport = htons(role_endpoint(Role::proxy).port);
    request->id.idiag_src[0] = htonl(INADDR_LOOPBACK);
    request->id.idiag_cookie[0] = request->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    expect("destroying a listener", told(destroy.send(NETLINK_SOCK_DIAG)),
           {"EPERM", "EOPNOTSUPP", "EPROTONOSUPPORT"});
    EXPECT_EQ(connect_tcp(role_endpoint(Role::proxy)).error, 0);
    Message policy(XFRM_MSG_NEWPOLICY, 0);
    policy.put<xfrm_userpolicy_info>();
    expect("IPsec policy", told(policy.send(NETLINK_XFRM)), {"EPERM", "EPROTONOSUPPORT"});
    Message audit(1001, 0);
    expect("audit", told(audit.send(NETLINK_AUDIT)), {"EPERM", "ECONNREFUSED", "EPROTONOSUPPORT"});
  });
}

TEST(Escape, AbstractSocketsOfTheOutsideAreNotThere) {
  in_captivity([](Network&, pid_t) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path + 1, abstract_name);
    const Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    expect("abstract socket",
           told_result(
               ::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address))),
           {"ECONNREFUSED"});
  });
}

}  // namespace
}  // namespace sluice::netns::test
