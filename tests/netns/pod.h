// What the tests of pods share: a node with a pod behind a veth pair, and everything that a process
// of the pod can try.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "netns/containers/chained.h"
#include "support.h"

namespace sluice::netns::test {

inline constexpr const char* node4 = "10.9.0.1";
inline constexpr const char* node6 = "fd09::1";
inline constexpr const char* pod4 = "10.9.0.5";
inline constexpr const char* pod6 = "fd09::5";
// Behind the node, as far as the pod can tell.
inline constexpr const char* far4 = "198.51.100.7";
inline constexpr const char* far6 = "2001:db8:7::7";
inline constexpr const char* pod_mac = "02:00:00:00:00:05";
inline constexpr const char* node_mac = "02:00:00:00:00:01";

// Runs a shell command that must succeed.
void shell(const std::string& command);

class Pod {
 public:
  // A veth pair from the calling thread's namespace, the node, into a new one, with addresses and
  // default routes, as a CNI plugin leaves it.
  Pod();

  int fd() const { return fd_.get(); }
  ChainedRequest request() const { return {fd_.get(), "eth0", "sluice_test"}; }
  // build_chained_network(), which must work.
  ChainedNetwork build(AllowRawSockets raw = AllowRawSockets::no) const;

  // Runs `body` in a child in the pod's namespace, with all capabilities of the caller's.
  void in_pod(const std::function<void()>& body) const;
  // The same as a process of the pod: CAP_NET_RAW is its only capability.
  void as_pod(const std::function<void()>& body) const;

 private:
  Fd fd_;
};

// Every frame that comes out of the pod's interface, as the node's end sees it before any rule.
class Tap {
 public:
  Tap();
  // What came since the last call. A frame of the test's own, sent last, tells that all is there.
  std::vector<std::string> frames();

 private:
  Fd socket_;
};
// Whether the frame is ARP, neighbour discovery or a multicast listener report.
bool is_link_control(const std::string& frame);
std::string describe(const std::string& frame);

// A server in the pod that answers `hello` to each connection or datagram, with a function of its
// own for as long as `body` runs.
struct PodServer {
  std::string address;  // to bind to
  std::uint16_t port;
  int type;
};
void while_serving(const Pod& pod, const PodServer& server, const std::function<void()>& body);

// What the server says, or the name of an errno.
std::string ask_tcp(const Endpoint& to);
std::string ask_udp(const Endpoint& to);

// -- frames and how to send them ------------------------------------------------------------------

struct Datagram {
  std::string from;
  std::string to;
  std::uint16_t source_port = 5555;
  std::uint16_t port = 9;
  std::uint8_t protocol = 17;
  std::string payload;  // behind the ports; a TCP header's rest if protocol is 6
};
// An Ethernet frame from the pod to the node with that IPv4 or IPv6 packet in it.
std::string frame_of(const Datagram& datagram);
// Without its Ethernet header.
std::string packet_of(const Datagram& datagram);
std::string tcp_rest(std::uint8_t flags);

// Errno of the send; 0 when the kernel took it.
int send_by_packet_socket(const std::string& frame, bool qdisc_bypass, std::uint32_t mark = 0);
int send_by_raw_socket(const std::string& packet, std::uint32_t mark = 0);
// At most 8 frames by one AF_XDP socket in copy mode, without an XDP program. The kernel frees the
// interface for another such socket some time after this one is closed.
int send_by_xdp_socket(const std::vector<std::string>& frames);

}  // namespace sluice::netns::test
