#include "support.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/io.h"
#include "netns/network.h"

namespace sluice::netns::test {
namespace {

constexpr unsigned child_seconds = 100;
constexpr int skipped = 77;
constexpr uid_t ordinary = 65534;

// Runs `body` in a child and returns its exit status: 0, 1 with failures, 77 skipped.
int run_child(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(child_seconds);
    body();
    const bool failed = testing::Test::HasFailure();
    const bool skips = testing::Test::IsSkipped();
    std::fflush(nullptr);
    ::_exit(failed ? 1 : skips ? skipped : 0);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void take_over(int status) {
  if (status == skipped) GTEST_SKIP() << "see above";
  EXPECT_EQ(status, 0) << "in the child process, see above";
}

// user_namespaces(7): one line that maps the caller to himself needs no privilege.
bool enter_user_namespace(int more_flags) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER | more_flags) != 0) return false;
  return write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", fmt::format("{} {} 1", uid, uid)) &&
         write_file("/proc/self/gid_map", fmt::format("{} {} 1", gid, gid));
}

Fd make_socket(const Endpoint& like, int type) {
  return Fd(
      ::socket(like.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int bind_to(const Fd& socket, const Endpoint& at) {
  const SocketAddress address = to_socket_address(at);
  return ::bind(socket.get(), address.get(), address.size);
}

int connect_to(const Fd& socket, const Endpoint& to) {
  const SocketAddress address = to_socket_address(to);
  return ::connect(socket.get(), address.get(), address.size);
}

void refuse_sockets(int error_number, const std::vector<scmp_arg_cmp>& which) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  ASSERT_EQ(
      seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error_number)),
                             SCMP_SYS(socket), static_cast<unsigned>(which.size()), which.data()),
      0);
  ASSERT_EQ(seccomp_load(filter), 0);
  seccomp_release(filter);
}

}  // namespace

void in_fresh_namespace(const std::function<void()>& body) {
  take_over(run_child([&] {
    const bool entered =
        ::geteuid() == 0 ? ::unshare(CLONE_NEWNET) == 0 : enter_user_namespace(CLONE_NEWNET);
    ASSERT_TRUE(entered) << "cannot make a network namespace: " << strerrordesc_np(errno);
    body();
  }));
}

int Network::operator[](Role role) const {
  for (const RoleSocket& socket : sockets_) {
    if (socket.role == role) return socket.fd.get();
  }
  return -1;
}

void in_agent_network(const std::function<void(Network&)>& body) {
  in_fresh_namespace([&] {
    auto sockets = build_agent_network();
    ASSERT_TRUE(sockets) << to_string(sockets.error());
    Network network(std::move(*sockets));
    body(network);
  });
}

void as_agent(const std::function<void()>& body) {
  const int status = run_child([&] {
    if (::geteuid() == 0) {
      const bool dropped = ::setgroups(0, nullptr) == 0 &&
                           ::setresgid(ordinary, ordinary, ordinary) == 0 &&
                           ::setresuid(ordinary, ordinary, ordinary) == 0 &&
                           ::prctl(PR_SET_DUMPABLE, 1) == 0;  // else /proc/self belongs to root
      ASSERT_TRUE(dropped) << strerrordesc_np(errno);
    }
    ASSERT_TRUE(enter_user_namespace(0)) << strerrordesc_np(errno);
    body();
  });
  EXPECT_EQ(status, 0) << "in the agent's process, see above";
}

Endpoint endpoint(std::string_view address, std::uint16_t port) {
  const auto parsed = IpAddress::parse(address);
  EXPECT_TRUE(parsed) << address;
  return {parsed.value_or(IpAddress{}), port};
}

bool wait_for(int fd, short events) {
  pollfd one{fd, events, 0};
  int ready = -1;
  do {
    ready = ::poll(&one, 1, static_cast<int>(patience.count()));
  } while (ready < 0 && errno == EINTR);
  return ready == 1;
}

Attempt connect_tcp(const Endpoint& to, const std::optional<Endpoint>& from) {
  Attempt attempt{make_socket(to, SOCK_STREAM), 0};
  if (from && bind_to(attempt.socket, *from) != 0) return {std::move(attempt.socket), errno};
  if (connect_to(attempt.socket, to) == 0) return attempt;
  if (errno != EINPROGRESS) return {std::move(attempt.socket), errno};
  if (!wait_for(attempt.socket.get(), POLLOUT)) return {std::move(attempt.socket), ETIMEDOUT};
  socklen_t size = sizeof(attempt.error);
  ::getsockopt(attempt.socket.get(), SOL_SOCKET, SO_ERROR, &attempt.error, &size);
  return attempt;
}

Fd accept_one(int listener) {
  if (!wait_for(listener, POLLIN)) return {};
  return Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

bool is_empty(int listener) {
  pollfd one{listener, POLLIN, 0};
  return ::poll(&one, 1, 0) == 0;
}

Fd listen_on(const Endpoint& at) {
  Fd socket = make_socket(at, SOCK_STREAM);
  EXPECT_EQ(bind_to(socket, at), 0) << to_string(at) << " " << strerrordesc_np(errno);
  EXPECT_EQ(::listen(socket.get(), 8), 0) << to_string(at);
  return socket;
}

Fd send_udp(const Endpoint& to, std::string_view bytes) {
  Fd socket = make_socket(to, SOCK_DGRAM);
  EXPECT_EQ(connect_to(socket, to), 0) << to_string(to) << " " << strerrordesc_np(errno);
  EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()))
      << to_string(to) << " " << strerrordesc_np(errno);
  return socket;
}

Received receive(int fd) {
  if (!wait_for(fd, POLLIN)) return {{}, ETIMEDOUT};
  std::array<char, 2048> bytes{};
  const ssize_t size = ::recv(fd, bytes.data(), bytes.size(), 0);
  if (size < 0) return {{}, errno};
  return {std::string(bytes.data(), static_cast<std::size_t>(size)), 0};
}

DnsQuestion receive_question(int socket) {
  DnsQuestion question;
  std::array<char, 512> bytes{};
  alignas(cmsghdr) std::array<char, 256> control{};
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_name = &question.from;
  message.msg_namelen = sizeof(question.from);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  EXPECT_TRUE(wait_for(socket, POLLIN));
  const ssize_t size = ::recvmsg(socket, &message, 0);
  if (size < 0) return question;
  question.bytes.assign(bytes.data(), static_cast<std::size_t>(size));
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr;
       item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != IPPROTO_IPV6 || item->cmsg_type != IPV6_PKTINFO) continue;
    in6_pktinfo info{};
    std::memcpy(&info, CMSG_DATA(item), sizeof(info));
    question.asked = info.ipi6_addr;
  }
  return question;
}

ssize_t send_answer(int socket, DnsQuestion& question, std::string bytes) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control{};
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_name = &question.from;
  message.msg_namelen = sizeof(question.from);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = IPPROTO_IPV6;
  item->cmsg_type = IPV6_PKTINFO;
  item->cmsg_len = CMSG_LEN(sizeof(in6_pktinfo));
  in6_pktinfo info{};
  info.ipi6_addr = question.asked;
  std::memcpy(CMSG_DATA(item), &info, sizeof(info));
  return ::sendmsg(socket, &message, 0);
}

void lose_nf_tables() {
  refuse_sockets(EPROTONOSUPPORT,
                 {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0), SCMP_A2(SCMP_CMP_EQ, NETLINK_NETFILTER, 0)});
}

void lose_ipv6() { refuse_sockets(EAFNOSUPPORT, {SCMP_A0(SCMP_CMP_EQ, AF_INET6, 0)}); }

int netlink_errno(int family, const nlmsghdr& request) {
  mnl_socket* socket = mnl_socket_open2(family, SOCK_CLOEXEC);
  if (socket == nullptr) return errno;
  int error = 0;
  std::array<char, 32768> answer{};
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
      mnl_socket_sendto(socket, &request, request.nlmsg_len) < 0 ||
      !wait_for(mnl_socket_get_fd(socket), POLLIN)) {
    error = errno == 0 ? ETIMEDOUT : errno;
  } else {
    const ssize_t size = mnl_socket_recvfrom(socket, answer.data(), answer.size());
    const auto length = static_cast<std::size_t>(size < 0 ? 0 : size);
    if (size < 0 || mnl_cb_run(answer.data(), length, 0, 0, nullptr, nullptr) < 0) error = errno;
  }
  mnl_socket_close(socket);
  return error;
}

int add_link_errno(const std::string& kind, const std::string& name, pid_t peer_pid) {
  alignas(nlmsghdr) std::array<char, 4096> buffer{};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = RTM_NEWLINK;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
  mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
  mnl_attr_put_strz(message, IFLA_IFNAME, name.c_str());
  nlattr* info = mnl_attr_nest_start(message, IFLA_LINKINFO);
  mnl_attr_put_strz(message, IFLA_INFO_KIND, kind.c_str());
  if (peer_pid != 0) {
    nlattr* data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
    nlattr* peer = mnl_attr_nest_start(message, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
    mnl_attr_put_u32(message, IFLA_NET_NS_PID, static_cast<std::uint32_t>(peer_pid));
    mnl_attr_nest_end(message, peer);
    mnl_attr_nest_end(message, data);
  }
  mnl_attr_nest_end(message, info);
  return netlink_errno(NETLINK_ROUTE, *message);
}

}  // namespace sluice::netns::test
