#include "pod.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "netns/inside.h"

namespace sluice::netns::test {
namespace {

constexpr unsigned child_seconds = 90;

std::string mac_bytes(const char* text) {
  std::string bytes;
  for (int i = 0; i < 6; ++i) {
    bytes +=
        static_cast<char>(std::strtoul(text + static_cast<std::ptrdiff_t>(3) * i, nullptr, 16));
  }
  return bytes;
}

std::string big_endian(std::uint16_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::uint32_t sum(std::string_view bytes, std::uint32_t start = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint32_t byte = static_cast<std::uint8_t>(bytes[i]);
    start += i % 2 == 0 ? byte << 8 : byte;
  }
  return start;
}

// RFC 1071.
std::string checksum(std::uint32_t total) {
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return big_endian(static_cast<std::uint16_t>(~total));
}

std::string address_bytes(const IpAddress& address) {
  const auto* begin = reinterpret_cast<const char*>(address.bytes().data());
  return {begin, begin + (address.is_v4() ? 4 : 16)};
}

std::size_t checksum_offset(std::uint8_t protocol) {
  return protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2;
}

void drop_to_net_raw() {
  // The bounding set too: nothing that is executed gets more.
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if (capability != CAP_NET_RAW) ::prctl(PR_CAPBSET_DROP, capability);
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  data[0].effective = data[0].permitted = 1U << CAP_NET_RAW;
  ASSERT_EQ(::syscall(SYS_capset, &header, data.data()), 0);
}

// An ordinary user's programs have the capabilities of his namespace only as ambient ones.
void share_capabilities() {
  if (::geteuid() == 0) return;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  ASSERT_EQ(::syscall(SYS_capget, &header, data.data()), 0);
  for (auto& word : data) word.inheritable = word.permitted;
  ASSERT_EQ(::syscall(SYS_capset, &header, data.data()), 0);
  // All: what it lacks of them would keep it from this process's /proc/PID/fd.
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  }
}

void run_in(int network, const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(child_seconds);
    EXPECT_EQ(::setns(network, CLONE_NEWNET), 0) << strerrordesc_np(errno);
    body();
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << "in a process of the pod, see above";
}

}  // namespace

void shell(const std::string& command) {
  ASSERT_EQ(std::system(command.c_str()), 0) << command;  // NOLINT(concurrency-mt-unsafe)
}

Pod::Pod() {
  share_capabilities();
  auto made = do_in_fresh_namespace([]() -> Result<Brought> { return Brought{}; });
  EXPECT_TRUE(made) << to_string(made.error());
  if (!made) return;
  fd_ = std::move(made->fds.back());
  const std::string path = fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get());
  shell("ip link set lo up");
  shell("ip link add vnode address " + std::string(node_mac) +
        " type veth peer name eth0 address " + pod_mac + " netns " + path);
  shell(
      "ip addr add 10.9.0.1/24 dev vnode; ip -6 addr add fd09::1/64 dev vnode nodad;"
      "ip link set vnode up; ip addr add 198.51.100.7/32 dev lo;"
      "ip -6 addr add 2001:db8:7::7/128 dev lo nodad");
  in_pod([] {
    shell(
        "ip link set lo up; ip addr add 10.9.0.5/24 dev eth0;"
        "ip -6 addr add fd09::5/64 dev eth0 nodad; ip link set eth0 up;"
        "ip route add default via 10.9.0.1; ip -6 route add default via fd09::1");
  });
}

ChainedNetwork Pod::build(AllowRawSockets raw) const {
  ChainedRequest wanted = request();
  wanted.raw = raw;
  auto network = build_chained_network(wanted);
  EXPECT_TRUE(network) << to_string(network.error());
  return network ? std::move(*network) : ChainedNetwork{};
}

void Pod::in_pod(const std::function<void()>& body) const { run_in(fd_.get(), body); }

void Pod::as_pod(const std::function<void()>& body) const {
  run_in(fd_.get(), [&] {
    drop_to_net_raw();
    body();
  });
}

Tap::Tap()
    : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = static_cast<int>(::if_nametoindex("vnode"));
  EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)), 0);
}

std::vector<std::string> Tap::frames() {
  // A veth delivers in the sender's own context or the next softirq; the frame to the pod is seen
  // by this socket (PACKET_OUTGOING) behind everything that was there before it.
  const Fd last(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex("vnode"));
  const std::string end = mac_bytes(pod_mac) + mac_bytes(node_mac) + "\x88\xb5" + "end of the test";
  EXPECT_GT(
      ::sendto(last.get(), end.data(), end.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)),
      0);
  std::vector<std::string> seen;
  while (wait_for(socket_.get(), POLLIN)) {
    std::array<char, 4096> bytes{};
    sockaddr_ll from{};
    socklen_t size = sizeof(from);
    const ssize_t got = ::recvfrom(socket_.get(), bytes.data(), bytes.size(), 0,
                                   reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) continue;
    std::string frame(bytes.data(), static_cast<std::size_t>(got));
    if (frame == end) return seen;
    if (from.sll_pkttype != PACKET_OUTGOING) seen.push_back(std::move(frame));
  }
  ADD_FAILURE() << "the last frame was not seen";
  return seen;
}

bool is_link_control(const std::string& frame) {
  if (frame.substr(12, 2) == "\x08\x06") return true;
  if (frame.size() < 55 || frame.substr(12, 2) != "\x86\xdd") return false;
  // Multicast listener reports have a hop-by-hop header of 8 bytes before them.
  const std::size_t at = frame[20] == 0 ? 62 : 54;
  const auto type = static_cast<std::uint8_t>(frame.size() > at ? frame[at] : 0);
  return (frame[20] == 58 && type >= 133 && type <= 136) || (frame[20] == 0 && type == 143);
}

std::string describe(const std::string& frame) {
  std::string hex;
  for (const char byte : frame.substr(0, 78))
    hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

void while_serving(const Pod& pod, const PodServer& server, const std::function<void()>& body) {
  auto ends = socket_pair();
  ASSERT_TRUE(ends);
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(child_seconds);
    ::setns(pod.fd(), CLONE_NEWNET);
    drop_to_net_raw();
    const SocketAddress at = to_socket_address(endpoint(server.address, server.port));
    const Fd socket(::socket(at.storage.ss_family, server.type | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    const bool ready = ::bind(socket.get(), at.get(), at.size) == 0 &&
                       (server.type == SOCK_DGRAM || ::listen(socket.get(), 8) == 0);
    (void)send_packet(ends->second.get(), ready ? "ready" : strerrordesc_np(errno));
    std::array<char, 512> question{};
    for (;;) {
      sockaddr_storage from{};
      socklen_t size = sizeof(from);
      auto* const who = reinterpret_cast<sockaddr*>(&from);
      if (server.type == SOCK_DGRAM) {
        ::recvfrom(socket.get(), question.data(), question.size(), 0, who, &size);
        ::sendto(socket.get(), "hello", 5, 0, who, size);
      } else {
        const Fd one(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
        (void)!::write(one.get(), "hello", 5);
      }
    }
  }
  const auto said = receive_packet(ends->first.get());
  EXPECT_TRUE(said && *said && (*said)->bytes == "ready") << (said && *said ? (*said)->bytes : "");
  body();
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

std::string ask_tcp(const Endpoint& to) {
  const Attempt attempt = connect_tcp(to);
  if (attempt.error != 0) return strerrorname_np(attempt.error);
  return receive(attempt.socket.get()).bytes;
}

std::string ask_udp(const Endpoint& to) {
  const Fd socket = send_udp(to, "question");
  const Received answer = receive(socket.get());
  return answer.error != 0 ? strerrorname_np(answer.error) : answer.bytes;
}

std::string tcp_rest(std::uint8_t flags) {
  return std::string("\0\0\0\1\0\0\0\0\x50", 9) + static_cast<char>(flags) +
         std::string("\x10\0\0\0\0\0", 6);
}

std::string packet_of(const Datagram& datagram) {
  const IpAddress from = IpAddress::parse(datagram.from).value();
  const IpAddress to = IpAddress::parse(datagram.to).value();
  const bool icmp = datagram.protocol == IPPROTO_ICMP || datagram.protocol == IPPROTO_ICMPV6;
  std::string body = icmp ? "" : big_endian(datagram.source_port) + big_endian(datagram.port);
  if (datagram.protocol == IPPROTO_UDP) {
    body +=
        big_endian(static_cast<std::uint16_t>(8 + datagram.payload.size())) + std::string(2, '\0');
  }
  body += datagram.payload;
  const std::string addresses = address_bytes(from) + address_bytes(to);
  const auto size = static_cast<std::uint16_t>(body.size());
  if (datagram.protocol != IPPROTO_ICMP) {
    const std::string whole = addresses + body;
    body.replace(checksum_offset(datagram.protocol), 2,
                 checksum(sum(whole, std::uint32_t{datagram.protocol} + size)));
  } else {
    body.replace(2, 2, checksum(sum(body)));
  }
  if (!from.is_v4()) {
    return std::string("\x60\0\0\0", 4) + big_endian(size) + static_cast<char>(datagram.protocol) +
           static_cast<char>(64) + addresses + body;
  }
  std::string head = std::string("\x45\0", 2) + big_endian(static_cast<std::uint16_t>(20 + size)) +
                     std::string("\x12\x34\0\0\x40", 5) + static_cast<char>(datagram.protocol) +
                     std::string(2, '\0') + addresses;
  head.replace(10, 2, checksum(sum(head)));
  return head + body;
}

std::string frame_of(const Datagram& datagram) {
  const bool v4 = datagram.from.find(':') == std::string::npos;
  return mac_bytes(node_mac) + mac_bytes(pod_mac) + (v4 ? std::string("\x08\0", 2) : "\x86\xdd") +
         packet_of(datagram);
}

int send_by_packet_socket(const std::string& frame, bool qdisc_bypass, std::uint32_t mark) {
  const Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (!socket) return errno;
  if (qdisc_bypass) ::setsockopt(socket.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
  if (mark != 0) ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  std::memcpy(&to.sll_protocol, frame.data() + 12, 2);
  to.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
  const auto* const at = reinterpret_cast<const sockaddr*>(&to);
  return ::sendto(socket.get(), frame.data(), frame.size(), 0, at, sizeof(to)) < 0 ? errno : 0;
}

int send_by_raw_socket(const std::string& packet, std::uint32_t mark) {
  const bool v4 = (packet[0] & 0xf0) == 0x40;
  const Fd socket(::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket) return errno;
  if (mark != 0) ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
  sockaddr_in to4{};
  to4.sin_family = AF_INET;
  sockaddr_in6 to6{};
  to6.sin6_family = AF_INET6;
  if (v4) std::memcpy(&to4.sin_addr, packet.data() + 16, 4);
  if (!v4) std::memcpy(&to6.sin6_addr, packet.data() + 24, 16);
  if (!v4 && IN6_IS_ADDR_LINKLOCAL(&to6.sin6_addr)) to6.sin6_scope_id = ::if_nametoindex("eth0");
  const auto* const to =
      v4 ? reinterpret_cast<const sockaddr*>(&to4) : reinterpret_cast<const sockaddr*>(&to6);
  const socklen_t size = v4 ? sizeof(to4) : sizeof(to6);
  return ::sendto(socket.get(), packet.data(), packet.size(), 0, to, size) < 0 ? errno : 0;
}

namespace {

constexpr std::size_t chunk = 4096;
constexpr std::size_t chunks = 8;

// Memory for the frames, and the rings; false with errno.
bool set_up_xdp(const Fd& socket, void* area) {
  xdp_umem_reg umem{};
  umem.addr = reinterpret_cast<std::uintptr_t>(area);
  umem.len = chunk * chunks;
  umem.chunk_size = chunk;
  const int entries = chunks;
  const auto set = [&](int option, const void* value, socklen_t size) {
    return ::setsockopt(socket.get(), SOL_XDP, option, value, size) == 0;
  };
  return set(XDP_UMEM_REG, &umem, sizeof(umem)) &&
         set(XDP_UMEM_FILL_RING, &entries, sizeof(entries)) &&
         set(XDP_UMEM_COMPLETION_RING, &entries, sizeof(entries)) &&
         set(XDP_TX_RING, &entries, sizeof(entries));
}

bool fill_ring(const Fd& socket, const std::vector<std::string>& frames) {
  xdp_mmap_offsets offsets{};
  socklen_t size = sizeof(offsets);
  if (::getsockopt(socket.get(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) != 0) return false;
  void* const mapped =
      ::mmap(nullptr, offsets.tx.desc + chunks * sizeof(xdp_desc), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_POPULATE, socket.get(), XDP_PGOFF_TX_RING);
  if (mapped == MAP_FAILED) return false;
  auto* const ring = static_cast<char*>(mapped);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const xdp_desc one{i * chunk, static_cast<__u32>(frames[i].size()), 0};
    std::memcpy(ring + offsets.tx.desc + i * sizeof(one), &one, sizeof(one));
  }
  __atomic_store_n(reinterpret_cast<std::uint32_t*>(ring + offsets.tx.producer),
                   static_cast<std::uint32_t>(frames.size()), __ATOMIC_RELEASE);
  return true;
}

}  // namespace

int send_by_xdp_socket(const std::vector<std::string>& frames) {
  const Fd socket(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!socket) return errno;
  void* const area =
      ::mmap(nullptr, chunk * chunks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return errno;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    std::memcpy(static_cast<char*>(area) + i * chunk, frames[i].data(), frames[i].size());
  }
  if (!set_up_xdp(socket, area) || !fill_ring(socket, frames)) return errno;
  sockaddr_xdp at{};
  at.sxdp_family = AF_XDP;
  at.sxdp_flags = XDP_COPY;
  at.sxdp_ifindex = ::if_nametoindex("eth0");
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)) != 0) return errno;
  return ::sendto(socket.get(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 ? errno : 0;
}

}  // namespace sluice::netns::test
