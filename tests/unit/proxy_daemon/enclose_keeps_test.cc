#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/unit/proxy_daemon/enclosed_child.h"

namespace sluice::proxy {
namespace {

TEST(Enclosure, KeepsThreads) {
  expect_holds([](Report& report) {
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int i = 1; i <= 8; ++i) {
      threads.emplace_back([&sum, i] {
        std::vector<char> memory(4 << 20, 'x');
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        sum += i + static_cast<int>(memory[1] - 'x');
      });
    }
    for (auto& thread : threads) thread.join();
    report.want(sum == 36, "threads");
    report.want(std::thread::hardware_concurrency() > 0, "sched_getaffinity");
    // A thread is as enclosed as the one that called.
    std::thread([&report] {
      report.refused("open in a thread", ::open("/", O_RDONLY), EACCES);
      report.refused("socket in a thread", ::socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
    }).join();
  });
}

void talk_tcp(Report& report, int listener, const sockaddr_in& address) {
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  report.want(static_cast<bool>(client), "socket");
  const int on = 1;
  report.want(::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0,
              "TCP_NODELAY");
  report.want(::connect(client.get(), any(address), sizeof address) == 0 || errno == EINPROGRESS,
              "connect");
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLOUT | EPOLLET;
  report.want(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, client.get(), &event) == 0, "epoll_ctl");
  report.want(::epoll_wait(epoll.get(), &event, 1, 2000) == 1, "epoll_wait");
  int error = -1;
  socklen_t size = sizeof error;
  report.want(::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0,
              "SO_ERROR");

  const Fd server(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  report.want(static_cast<bool>(server), "accept4");
  report.want(::send(client.get(), "hello", 5, MSG_NOSIGNAL) == 5, "send");
  std::array<int, 2> pipe{};
  report.want(::pipe2(pipe.data(), O_NONBLOCK | O_CLOEXEC) == 0, "pipe2");
  report.want(::fcntl(pipe[1], F_SETPIPE_SZ, 65536) > 0, "F_SETPIPE_SZ");
  report.want(::splice(server.get(), nullptr, pipe[1], nullptr, 65536, SPLICE_F_MOVE) == 5,
              "splice in");
  report.want(::splice(pipe[0], nullptr, server.get(), nullptr, 5, 0) == 5, "splice out");
  pollfd ready{client.get(), POLLIN, 0};
  report.want(::poll(&ready, 1, 2000) == 1, "poll");
  std::array<char, 8> text{};
  report.want(::recv(client.get(), text.data(), text.size(), 0) == 5, "recv");
  report.want(std::strcmp(text.data(), "hello") == 0, "echo");
  report.want(::shutdown(client.get(), SHUT_WR) == 0, "shutdown");
  const linger reset{1, 0};
  report.want(::setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0,
              "SO_LINGER");
}

TEST(Enclosure, KeepsTcp) {
  sockaddr_in address{};
  const Fd listener = bound(SOCK_STREAM, address);
  expect_holds([&](Report& report) { talk_tcp(report, listener.get(), address); });
}

TEST(Enclosure, KeepsUdpAndDescriptorsThatAreHanded) {
  sockaddr_in address{};
  const Fd server = bound(SOCK_DGRAM, address);
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  const Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  expect_holds([&](Report& report) {
    const Fd client(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    report.want(::connect(client.get(), any(address), sizeof address) == 0, "connect");
    report.want(::send(client.get(), "q", 1, 0) == 1, "send");
    std::array<char, 16> bytes{};
    sockaddr_in from{};
    iovec piece{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    report.want(::recvmsg(server.get(), &message, 0) == 1, "recvmsg");
    report.want(::sendto(server.get(), "a", 1, 0, any(from), sizeof from) == 1, "sendto");
    report.want(::recv(client.get(), bytes.data(), bytes.size(), 0) == 1, "recv");

    // A descriptor over an inherited socket, as listeners arrive.
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr handover{};
    handover.msg_iov = &piece;
    handover.msg_iovlen = 1;
    handover.msg_control = control.data();
    handover.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&handover);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int handed = server.get();
    std::memcpy(CMSG_DATA(header), &handed, sizeof handed);
    report.want(::sendmsg(ours.get(), &handover, 0) > 0, "sendmsg with a descriptor");
    report.want(::recvmsg(theirs.get(), &handover, MSG_CMSG_CLOEXEC) > 0,
                "recvmsg with a descriptor");
  });
}

TEST(Enclosure, KeepsClocksTimersEventsRandomnessAndRouteQuestions) {
  expect_holds([](Report& report) {
    const Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    itimerspec soon{};
    soon.it_value.tv_nsec = 1000000;
    report.want(::timerfd_settime(timer.get(), 0, &soon, nullptr) == 0, "timerfd_settime");
    std::uint64_t count = 0;
    report.want(::read(timer.get(), &count, sizeof count) == sizeof count && count == 1, "timer");
    const Fd event(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    report.want(::read(event.get(), &count, sizeof count) == sizeof count, "eventfd");
    std::array<char, 32> bytes{};
    report.want(::getrandom(bytes.data(), bytes.size(), 0) == 32, "getrandom");
    report.want(std::chrono::system_clock::now().time_since_epoch().count() > 0, "clock");
    rusage usage{};
    report.want(::getrusage(RUSAGE_SELF, &usage) == 0, "getrusage");
    rlimit files{};
    report.want(::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > 0, "getrlimit");
    const Fd route(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    report.want(static_cast<bool>(route), "route socket");
    int on = 1;
    report.want(::ioctl(route.get(), FIONBIO, &on) == 0, "FIONBIO");
    report.want(std::fprintf(stderr, "%s", "") == 0 && std::fflush(nullptr) == 0, "stdio");
  });
}

}  // namespace
}  // namespace sluice::proxy
