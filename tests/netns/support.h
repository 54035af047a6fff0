// What the tests of agent networks share: a namespace of one's own, and sockets that never wait for
// ever.
#pragma once

#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/strong.h"
#include "netns/handover.h"
#include "netns/sockets.h"

namespace sluice::netns::test {

// Longer than what must come takes on any machine.
inline constexpr std::chrono::milliseconds patience{30'000};

// Runs `body` in a child process with a network namespace of its own (and, for an ordinary user, a
// user namespace where he is himself). Failed expectations of the child fail the test; a skip skips
// it.
void in_fresh_namespace(const std::function<void()>& body);

// The same with a network built, and its sockets by role.
class Network {
 public:
  explicit Network(std::vector<RoleSocket> sockets) : sockets_(std::move(sockets)) {}
  int operator[](Role role) const;
  // As when sluiced and every supervisor have ended.
  void close_all() { sockets_.clear(); }
  const std::vector<RoleSocket>& sockets() const { return sockets_; }

 private:
  std::vector<RoleSocket> sockets_;
};
void in_agent_network(const std::function<void(Network&)>& body);

// Runs `body` in a grandchild as the agent lives: an ordinary user in a user namespace nested below
// the one that owns the network. It has every capability there: more than the agent ever has.
void as_agent(const std::function<void()>& body);

Endpoint endpoint(std::string_view address, std::uint16_t port);

// Waits at most 5 s, so that a failure is told by an errno or a missing event, never by a time.
bool wait_for(int fd, short events);

// A client's TCP connection: the socket, and the errno of its connect(2), 0 when connected.
struct Attempt {
  Fd socket;
  int error = 0;
};
Attempt connect_tcp(const Endpoint& to, const std::optional<Endpoint>& from = std::nullopt);
// The next connection on a listener, or an empty Fd after 5 s.
Fd accept_one(int listener);
// True when no connection waits there now.
bool is_empty(int listener);
Fd listen_on(const Endpoint& at);

// A connected UDP socket that has sent `bytes`.
Fd send_udp(const Endpoint& to, std::string_view bytes);
// What arrived: the text, or the errno; ETIMEDOUT after 5 s.
struct Received {
  std::string bytes;
  int error = 0;
};
Received receive(int fd);

// A datagram at the DNS listener, and an answer as sluiced gives it: from the address that was
// asked, whatever link it may seem to be on.
struct DnsQuestion {
  std::string bytes;
  sockaddr_in6 from{};
  in6_addr asked{};  // from IPV6_PKTINFO; IPv4 as a mapped address
};
DnsQuestion receive_question(int socket);
ssize_t send_answer(int socket, DnsQuestion& question, std::string bytes);

// From here on socket(2) fails in this process as on a kernel without CONFIG_NETFILTER_NETLINK, or
// without CONFIG_IPV6.
void lose_nf_tables();
void lose_ipv6();

// The errno the kernel answers to a raw netlink request of this family; 0 is success.
int netlink_errno(int family, const nlmsghdr& request);
// RTM_NEWLINK of this kind; veth gets its peer in the network namespace of process `peer_pid`, if
// any.
int add_link_errno(const std::string& kind, const std::string& name, pid_t peer_pid = 0);

}  // namespace sluice::netns::test
