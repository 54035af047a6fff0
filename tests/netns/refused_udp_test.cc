#include "netns/refused_udp.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <vector>

#include "netns/datagram_count.h"
#include "netns/network.h"
#include "support.h"

namespace sluice::netns::test {
namespace {

// Datagrams that were refused when this returns: the kernel may take its time.
void send_refused(int datagrams) {
  for (int i = 0; i < datagrams; ++i) {
    const Fd socket = send_udp(endpoint("203.0.113.1", 443), "hello");
    EXPECT_EQ(receive(socket.get()).error, ECONNREFUSED);
  }
}

std::uint64_t count(RefusedUdp& counter) {
  const auto read = counter.read();
  EXPECT_TRUE(read) << to_string(read.error());
  return read.value_or(0);
}

Fd serve_udp(const Endpoint& at) {
  const SocketAddress address = to_socket_address(at);
  Fd socket(::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_EQ(::bind(socket.get(), address.get(), address.size), 0)
      << to_string(at) << " " << strerrordesc_np(errno);
  return socket;
}

TEST(RefusedUdp, CountsEveryDatagramThatWasRefusedAndNoOther) {
  in_agent_network([](Network& network) {
    auto counter = RefusedUdp::open();
    ASSERT_TRUE(counter) << to_string(counter.error());
    EXPECT_EQ(count(*counter), 0U);
    std::uint64_t refused = 0;
    for (const char* address : {"203.0.113.1", "169.254.169.254", "2001:db8::1", "::2"}) {
      for (const std::uint16_t port : std::initializer_list<std::uint16_t>{54, 443, 65535}) {
        const Fd socket = send_udp(endpoint(address, port), "hello");
        EXPECT_EQ(receive(socket.get()).error, ECONNREFUSED) << address << " port " << port;
        EXPECT_EQ(count(*counter), ++refused) << address << " port " << port;
      }
    }
    // DNS, the agent's own servers, and what its own loopback refuses.
    const Fd question = send_udp(endpoint("203.0.113.1", 53), "who?");
    EXPECT_EQ(receive(network[Role::dns_udp]).bytes, "who?");
    for (const char* address : {"127.0.0.1", "127.9.9.9", "::1"}) {
      const Fd server = serve_udp(endpoint(address, 5000));
      const Fd client = send_udp(endpoint(address, 5000), "to myself");
      EXPECT_EQ(receive(server.get()).bytes, "to myself") << address;
      const Fd nobody = send_udp(endpoint(address, 5001), "hello");
      EXPECT_EQ(receive(nobody.get()).error, ECONNREFUSED) << address;
    }
    EXPECT_EQ(count(*counter), refused);
  });
}

TEST(RefusedUdp, IncludesWhatAServerOfTheAgentOnEveryAddressWouldHaveAnswered) {
  in_agent_network([](Network&) {
    auto counter = RefusedUdp::open();
    ASSERT_TRUE(counter);
    const Fd everywhere4 = serve_udp(endpoint("0.0.0.0", 443));
    const Fd everywhere6 = serve_udp(endpoint("::", 444));
    const Fd exact = serve_udp(endpoint("203.0.113.9", 445));
    for (const auto& [to, server] : {std::pair(endpoint("203.0.113.1", 443), everywhere4.get()),
                                     std::pair(endpoint("2001:db8::1", 444), everywhere6.get()),
                                     std::pair(endpoint("203.0.113.1", 444), everywhere6.get()),
                                     std::pair(endpoint("203.0.113.9", 445), exact.get())}) {
      const Fd client = send_udp(to, "hello");
      EXPECT_EQ(receive(client.get()).error, ECONNREFUSED) << to_string(to);
      EXPECT_TRUE(is_empty(server)) << to_string(to);
    }
    EXPECT_EQ(count(*counter), 4U);
    const Fd client = send_udp(endpoint("127.0.0.1", 443), "to myself");
    EXPECT_EQ(receive(everywhere4.get()).bytes, "to myself");
  });
}

// The agent may bind any address, and its question must still be answered.
TEST(RefusedUdp, LeavesAnswersOfDnsAloneWhateverAddressAskedFrom) {
  in_agent_network([](Network& network) {
    for (const auto& [from, to] :
         {std::pair(endpoint("198.51.100.7", 0), endpoint("203.0.113.53", 53)),
          std::pair(endpoint("198.51.100.7", 0), endpoint("127.0.0.53", 53)),
          std::pair(endpoint("fd73:6c75:6963::", 0), endpoint("2001:db8::53", 53))}) {
      const Fd client = serve_udp(from);
      const SocketAddress server = to_socket_address(to);
      ASSERT_EQ(::connect(client.get(), server.get(), server.size), 0) << to_string(from);
      ASSERT_EQ(::send(client.get(), "who?", 4, 0), 4) << to_string(from);
      ASSERT_TRUE(wait_for(network[Role::dns_udp], POLLIN));
      DnsQuestion question = receive_question(network[Role::dns_udp]);
      ASSERT_EQ(send_answer(network[Role::dns_udp], question, "me"), 2) << to_string(from);
      EXPECT_EQ(receive(client.get()).bytes, "me") << to_string(from);
    }
  });
}

// As a supervisor does: outside the namespace, over a socket that was opened inside.
TEST(RefusedUdp, IsReadFromOutsideByWhoOwnsTheNamespaceAndByNobodyElse) {
  in_fresh_namespace([] {
    auto ends = socket_pair();
    ASSERT_TRUE(ends);
    const pid_t inside = ::fork();
    if (inside == 0) {
      const bool fresh =
          ::unshare(::geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) == 0;
      const auto sockets = fresh ? build_agent_network() : fail(Errc::bug, "unshare");
      const auto counter = sockets ? RefusedUdp::open_socket() : fail(Errc::bug, "network");
      if (!counter) ::_exit(1);
      send_refused(7);
      (void)send_packet(ends->second.get(), "counter", {counter->get()});
      ::_exit(0);
    }
    int status = 1;
    ::waitpid(inside, &status, 0);
    ASSERT_EQ(status, 0);
    auto packet = receive_packet(ends->first.get());
    ASSERT_TRUE(packet && *packet && (*packet)->fds.size() == 1);
    const Fd copy(::dup((*packet)->fds[0].get()));
    auto counter = RefusedUdp::adopt(std::move((*packet)->fds[0]));
    ASSERT_TRUE(counter);
    EXPECT_EQ(count(*counter), 7U);
    as_agent([&] {
      auto stolen = RefusedUdp::adopt(Fd(::dup(copy.get())));
      ASSERT_TRUE(stolen);
      const auto read = stolen->read();
      ASSERT_FALSE(read);
      EXPECT_EQ(read.error().code, Errc::not_permitted);
    });
  });
}

TEST(RefusedUdp, IsToldInPartsOfWhatIsNewAndAgainWhereNobodyHeardIt) {
  in_agent_network([](Network&) {
    using namespace std::chrono_literals;
    auto counter = RefusedUdp::open_socket();
    ASSERT_TRUE(counter);
    const DatagramCount::Clock::time_point now{};
    DatagramCount datagrams;
    EXPECT_FALSE(datagrams.next());
    ASSERT_TRUE(datagrams.start(std::move(*counter), now));
    EXPECT_EQ(datagrams.next(), now + 10s);
    std::vector<std::uint64_t> told;
    bool heard = true;
    const auto report = [&](const netns::Event& event) -> Result<void> {
      if (!heard) return fail(Errc::unavailable, "nobody is there");
      told.push_back(event.count);
      return {};
    };
    send_refused(2);
    ASSERT_TRUE(datagrams.tell(report, now));
    ASSERT_TRUE(datagrams.tell(report, now));  // nothing new, nothing told
    send_refused(3);
    heard = false;
    ASSERT_TRUE(datagrams.tell(report, now));
    send_refused(1);
    heard = true;
    ASSERT_TRUE(datagrams.tell(report, now + 10s));
    EXPECT_EQ(told, (std::vector<std::uint64_t>{2, 4}));
    EXPECT_EQ(datagrams.total(), 6U);
    EXPECT_EQ(datagrams.next(), now + 20s);
  });
}

TEST(RefusedUdp, CannotBeReadOrSetBackByTheAgent) {
  in_agent_network([](Network&) {
    as_agent([] {
      const auto counter = RefusedUdp::open();
      ASSERT_FALSE(counter);
      EXPECT_EQ(counter.error().code, Errc::not_permitted);
    });
  });
}

TEST(RefusedUdp, NeedsTheCaptureRules) {
  in_fresh_namespace([] {
    const auto counter = RefusedUdp::open();
    ASSERT_FALSE(counter);
    EXPECT_EQ(counter.error().what,
              "cannot read the counter of refused datagrams: No such file or directory");
  });
}

}  // namespace
}  // namespace sluice::netns::test
