// An outside around an agent's network, whose capture must see nothing, and what comes of attempts
// to reach it.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "support.h"

namespace sluice::netns::test {

// What every attempt sends; the capture knows it again.
inline constexpr const char* marker = "escaped";
// An abstract Unix socket that listens outside.
inline constexpr const char* abstract_name = "sluice-outside";
inline const Endpoint far4 = {IpAddress::v4(0xcb007101), 443};  // 203.0.113.1
inline const Endpoint far6 = {
    IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), 443};

// Runs `attempts` as the agent (as_agent()) of a network around which is an outside: a link with a
// way to everywhere, whose packets are captured. None may be seen. Skipped without veth.
void in_captivity(const std::function<void(Network&, pid_t outside)>& attempts);

// A netlink request.
struct Message {
  Message(std::uint16_t type, int flags) {
    header = mnl_nlmsg_put_header(bytes.data());
    header->nlmsg_type = type;
    header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  }
  template <class Body>
  Body* put() {
    return static_cast<Body*>(mnl_nlmsg_put_extra_header(header, sizeof(Body)));
  }
  int send(int family = NETLINK_ROUTE) const { return netlink_errno(family, *header); }
  alignas(nlmsghdr) std::array<char, 4096> bytes{};
  nlmsghdr* header;
};

// The errno's name, or "worked".
std::string told(int error);
// Of what a system call returned.
std::string told_result(long result);

// What may come of an attempt.
using OneOf = std::vector<std::string>;
void expect(const char* what, const std::string& result, const OneOf& allowed);

// Of what may have no answer.
inline constexpr std::chrono::milliseconds a_moment{300};

// The end of a connection attempt from `client`: "captured" where it is on a listener of ours, an
// errno, "no answer", or "connected elsewhere".
std::string connect_told(const Network& network, const Fd& client, const Endpoint& to,
                         std::chrono::milliseconds within = patience);
// A datagram from `client` to `to`: the errno of sending it, or of what it came to.
std::string send_told(const Fd& client, const Endpoint& to,
                      std::chrono::milliseconds within = patience);

Fd stream(int family, int protocol = 0);
Fd datagram(int family, int protocol = 0);
std::string socket_told(int family, int type, int protocol);

}  // namespace sluice::netns::test
