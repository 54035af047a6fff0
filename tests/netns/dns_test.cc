#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "support.h"

namespace sluice::netns::test {
namespace {

constexpr std::array<const char*, 8> nameservers{"203.0.113.53", "8.8.8.8",      "127.0.0.53",
                                                 "127.0.0.11",   "10.96.0.10",   "2001:db8::53",
                                                 "::1",          "fd00:ec2::253"};

TEST(Dns, ReachesTheProxyOverUdpAtAnyNameserverAndTheReplyComesFromThatAddress) {
  in_agent_network([](Network& network) {
    for (const char* nameserver : nameservers) {
      // Connected, so the kernel drops every reply that is not from the address asked.
      const Fd client = send_udp(endpoint(nameserver, 53), "who?");
      DnsQuestion question = receive_question(network[Role::dns_udp]);
      EXPECT_EQ(question.bytes, "who?") << nameserver;
      ASSERT_EQ(send_answer(network[Role::dns_udp], question, "me"), 2)
          << nameserver << " " << strerrordesc_np(errno);
      EXPECT_EQ(receive(client.get()).bytes, "me") << nameserver;
    }
  });
}

TEST(Dns, ReachesTheProxyOverTcpAtAnyNameserver) {
  in_agent_network([](Network& network) {
    for (const char* nameserver : nameservers) {
      const Attempt client = connect_tcp(endpoint(nameserver, 53));
      ASSERT_EQ(client.error, 0) << nameserver;
      const Fd session = accept_one(network[Role::dns_tcp]);
      ASSERT_TRUE(session) << nameserver;
      ASSERT_EQ(::send(session.get(), "me", 2, 0), 2);
      EXPECT_EQ(receive(client.socket.get()).bytes, "me") << nameserver;
    }
  });
}

TEST(Dns, CannotBeTakenOverByAServerOfTheAgent) {
  in_agent_network([](Network&) {
    for (const char* address : {"127.0.0.1", "0.0.0.0", "203.0.113.53", "::", "::1"}) {
      for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
        const SocketAddress at = to_socket_address(endpoint(address, 53));
        const Fd socket(::socket(at.storage.ss_family, type | SOCK_CLOEXEC, 0));
        const int on = 1;
        ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        const bool taken = ::bind(socket.get(), at.get(), at.size) == 0 &&
                           (type == SOCK_DGRAM || ::listen(socket.get(), 1) == 0);
        EXPECT_FALSE(taken) << address << " type " << type;
      }
    }
  });
}

}  // namespace
}  // namespace sluice::netns::test
