// What sluiced takes from a peer, and what it refuses: sockets, names, namespaces.
#include <netinet/in.h>

#include "proxy/session/dns.h"
#include "tests/loopback/handing_over.h"

namespace sluice::proxy {
namespace {

using testing::HasSubstr;

// Those that take the place of a listener of `whole`, as a peer that lies would make them.
std::vector<Fd> wrong_sockets() {
  std::vector<Fd> made;
  const auto socket = [&](int family, int type, int protocol = 0) {
    made.emplace_back(::socket(family, type | SOCK_CLOEXEC, protocol));
    return made.back().get();
  };
  const TcpEndpoint proxy(asio::ip::address_v4::loopback(), 3128);
  const TcpEndpoint other(asio::ip::address_v4::loopback(), 3129);
  const auto bind_to = [](int fd, const TcpEndpoint& at) {
    constexpr int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    ::bind(fd, at.data(), static_cast<socklen_t>(at.size()));
  };
  const int connected = socket(AF_INET, SOCK_DGRAM);
  ::connect(connected, proxy.data(), static_cast<socklen_t>(proxy.size()));
  bind_to(socket(AF_INET, SOCK_STREAM), other);  // does not listen
  const int multipath = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
  bind_to(multipath, other);
  ::listen(multipath, 1);
  ::listen(socket(AF_UNIX, SOCK_STREAM), 1);
  const int wrong_port = socket(AF_INET, SOCK_STREAM);
  bind_to(wrong_port, other);
  ::listen(wrong_port, 1);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) == 0) {
    made.emplace_back(pipe[0]);
    ::close(pipe[1]);
  }
  return made;
}

TEST(Handover, RefusesASocketThatIsNotWhatItsRoleSaysAndNamesTheRole) {
  const std::vector<Fd> fds = agent_network(wrong_sockets);
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  ASSERT_EQ(fds.size(), whole.size() + 6);
  Handover bench;
  const Fd client = bench.connect();
  const auto with = [&](Role role, std::size_t wrong) {
    std::vector<int> handed = numbers(fds, 0, whole.size());
    handed.at(static_cast<std::size_t>(role)) = fds.at(whole.size() + wrong).get();
    return bench.refusal(client, registration("liar"), handed);
  };
  const std::array<std::string_view, 6> what = {"SO_TYPE",   "SO_ACCEPTCONN", "SO_PROTOCOL",
                                                "SO_DOMAIN", "is bound to",   "non-socket"};
  for (std::size_t i = 0; i < what.size(); ++i) {
    const std::string refused = with(Role::proxy, i);
    EXPECT_THAT(refused, HasSubstr("'proxy'")) << i;
    EXPECT_THAT(refused, HasSubstr(what[i])) << i;
    EXPECT_THAT(with(Role::dns_udp, i), HasSubstr("'dns_udp'")) << i;
    EXPECT_THAT(with(Role::tproxy4, i), HasSubstr("'tproxy4'")) << i;
  }
  // A listener of the namespace itself, under another name.
  std::vector<int> swapped = numbers(fds, 0, whole.size());
  std::swap(swapped[0], swapped[4]);
  EXPECT_THAT(bench.refusal(client, registration("liar"), swapped), HasSubstr("IP_TRANSPARENT"));
  std::swap(swapped[0], swapped[4]);
  std::swap(swapped[2], swapped[3]);
  EXPECT_THAT(bench.refusal(client, registration("liar"), swapped), HasSubstr("SO_TYPE"));
  EXPECT_EQ(bench.agents->count(), 0U);
  EXPECT_EQ(bench.refusal(client, registration("honest"), numbers(fds, 0, whole.size())), "");
}

TEST(Handover, RefusesANetworkThatIsMixedOrIncomplete) {
  const std::vector<Fd> one = agent_network();
  const std::vector<Fd> other = agent_network();
  if (one.empty() || other.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd client = bench.connect();
  std::vector<int> mixed = numbers(one, 0, whole.size());
  mixed[4] = other[4].get();
  EXPECT_THAT(bench.refusal(client, registration("mixed"), mixed),
              HasSubstr("of different network namespaces"));
  const std::vector<std::vector<std::size_t>> incomplete = {
      {0, 1, 2, 3}, {0, 1, 2, 4}, {0, 1, 3, 4}, {1, 2, 3, 4}, {0, 1}, {4}};
  for (const auto& places : incomplete) {
    std::vector<Role> roles;
    std::vector<int> fds;
    for (const std::size_t place : places) {
      roles.push_back(whole[place]);
      fds.push_back(one[place].get());
    }
    EXPECT_THAT(bench.refusal(client, registration("half", roles), fds),
                HasSubstr("not exactly one socket of every role"));
  }
  EXPECT_THAT(bench.refusal(client, registration("short"), numbers(one, 0, 4)),
              HasSubstr("not as many descriptors"));
  EXPECT_EQ(bench.agents->count(), 0U);
}

TEST(Handover, RefusesSluicedsOwnNamespaceAndOneThatIsRegistered) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd first = bench.connect();
  const Fd second = bench.connect();
  const auto handed = numbers(fds, 0, whole.size());
  EXPECT_EQ(bench.refusal(first, registration("first"), handed), "");
  EXPECT_THAT(bench.refusal(second, registration("second"), handed),
              HasSubstr("the network namespace is that of agent 'first'"));
  EXPECT_THAT(bench.refusal(second, explicit_lease("second"), handed),
              HasSubstr("the network namespace is that of agent 'first'"));
  EXPECT_THAT(bench.refusal(second, registration("first"), handed),
              HasSubstr("the agent name 'first' is taken"));
  EXPECT_THAT(bench.refusal(first, registration("other"), handed),
              HasSubstr("this connection has a registration"));
}

TEST(Handover, RefusesListenersOfItsOwnNamespace) {
  // As the agent's namespace is built, so that the sockets are right in everything but their place.
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    const int flags = ::geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER;
    if (::unshare(flags) != 0) ::_exit(77);
    const auto sockets = netns::build_agent_network();
    if (!sockets) ::_exit(77);
    const auto set = check_network(*sockets);
    ::_exit(!set && set.error().what.find("sluiced's own") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "no network namespace can be made";
  }
  EXPECT_EQ(status, 0);
}

TEST(Handover, TakesANetworkWithoutIpv6ListenersAndOneWithAListenerForEachPort) {
  const std::vector<Fd> fds = agent_network([] { return port_listeners({80, 443, 8443}); });
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  std::optional<Fd> client = bench.connect();
  const std::vector<Role> v4{Role::tproxy4, Role::dns_udp, Role::dns_tcp, Role::proxy};
  const std::vector<int> v4_fds{fds[0].get(), fds[2].get(), fds[3].get(), fds[4].get()};
  const auto captured = bench.ask(*client, registration("v4", v4), v4_fds);
  ASSERT_TRUE(std::holds_alternative<netns::Registered>(captured));
  EXPECT_FALSE(std::get<netns::Registered>(captured).ports_only);
  EXPECT_THAT(bench.refusal(*client, netns::Add{{Role::port}}, {fds[5].get()}),
              HasSubstr("captures every port already"));
  client = bench.connect();
  bench.run_until([&] { return bench.agents->count() == 0; });

  auto roles = without_capture;
  roles.insert(roles.end(), {Role::port, Role::port});
  const auto handed = numbers(fds, 2, 5);
  std::vector<int> twice = handed;
  twice[4] = twice[3];
  EXPECT_THAT(bench.refusal(*client, registration("ports", roles), twice),
              HasSubstr("port 80 has a listener twice"));
  std::vector<Role> both = whole;
  both.push_back(Role::port);
  EXPECT_THAT(bench.refusal(*client, registration("ports", both), numbers(fds, 0, 6)),
              HasSubstr("not exactly one socket of every role"));
  const auto by_ports = bench.ask(*client, registration("ports", roles), handed);
  ASSERT_TRUE(std::holds_alternative<netns::Registered>(by_ports));
  EXPECT_TRUE(std::get<netns::Registered>(by_ports).ports_only) << "the answer says what is less";
  const auto& ports = bench.agents->live().at("ports")->ports;
  EXPECT_THAT(ports, testing::ElementsAre(80, 443));
  EXPECT_THAT(bench.refusal(*client, netns::Add{{Role::port}}, {fds[5].get()}),
              HasSubstr("port 80 has a listener twice"));
  EXPECT_THAT(bench.refusal(*client, netns::Add{{Role::proxy}}, {fds[4].get()}),
              HasSubstr("only listeners of ports can be added"));
  EXPECT_EQ(bench.refusal(*client, netns::Add{{Role::port}}, {fds[7].get()}), "");
  EXPECT_THAT(ports, testing::ElementsAre(80, 443, 8443));
  EXPECT_EQ(bench.agents->held_by(::geteuid()).ports, 3U);
}

TEST(Handover, ServesConnectionsOfAddedPorts) {
  const std::vector<Fd> fds = agent_network([] {
    std::vector<Fd> made;
    made.push_back(port_listener(8080));
    // Nobody is there: a name that the policy does not know is refused with 403.
    const Fd& client = made.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const TcpEndpoint to(asio::ip::make_address("127.0.0.1"), 8080);
    ::connect(client.get(), to.data(), static_cast<socklen_t>(to.size()));
    return made;
  });
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, registration("ports", without_capture), numbers(fds, 2, 3)), "");
  EXPECT_EQ(bench.refusal(client, netns::Add{{Role::port}}, {fds[5].get()}), "");
  const std::string_view request = "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n";
  ASSERT_EQ(::send(fds[6].get(), request.data(), request.size(), 0), std::ssize(request));
  std::string answer;
  bench.run_until([&] {
    std::array<char, 4096> bytes;
    const ssize_t size = ::recv(fds[6].get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size > 0) answer.append(bytes.data(), static_cast<std::size_t>(size));
    return answer.find("\r\n\r\n") != std::string::npos;
  });
  EXPECT_THAT(answer, HasSubstr(" 403 "));
}

TEST(Handover, RefusesPortsOfAnotherNamespaceAndMoreThanThereMayBe) {
  const auto with_port = [] { return port_listeners({80, 81, 82}); };
  const std::vector<Fd> mine = agent_network(with_port);
  const std::vector<Fd> other = agent_network(with_port);
  if (mine.empty() || other.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench({}, {.ports_per_uid = 2});
  const Fd client = bench.connect();
  const netns::Add one{{Role::port}};
  EXPECT_THAT(bench.refusal(client, one, {mine[5].get()}), HasSubstr("nothing is registered"));
  EXPECT_EQ(bench.refusal(client, registration("ports", without_capture), numbers(mine, 2, 3)), "");
  EXPECT_THAT(bench.refusal(client, one, {other[5].get()}), HasSubstr("another network namespace"));
  EXPECT_EQ(bench.refusal(client, one, {mine[5].get()}), "");
  EXPECT_EQ(bench.refusal(client, one, {mine[6].get()}), "");
  EXPECT_THAT(bench.refusal(client, one, {mine[7].get()}),
              HasSubstr("may have 2 listeners of ports here"));
  const Fd second = bench.connect();
  auto roles = without_capture;
  roles.push_back(Role::port);
  EXPECT_THAT(bench.refusal(second, registration("more", roles), numbers(other, 2, 4)),
              HasSubstr("may have 2 listeners of ports here"));
}

TEST(Handover, GivesEachUserTheNamesOfItsLinesOnly) {
  const uid_t uid = ::geteuid();
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  const auto handed = numbers(fds, 0, whole.size());
  using Lines = std::vector<Config::Peer>;
  Handover bench(PeerAccess(Lines{{Config::Peer::Kind::user, uid, {"mine-*", "one"}}}));
  const Fd client = bench.connect();
  const std::string refused = bench.refusal(client, registration("other-1"), handed);
  EXPECT_THAT(refused,
              HasSubstr(fmt::format("user {} may not take the agent name 'other-1'", uid)));
  EXPECT_THAT(refused, HasSubstr("it may take: mine-*, one"));
  EXPECT_THAT(bench.refusal(client, explicit_lease("other-1"), handed), HasSubstr("may not take"));
  EXPECT_THAT(bench.refusal(client, netns::AskPorts{"coder-1"}), HasSubstr("may not take"));
  EXPECT_THAT(bench.refusal(client, netns::AskSandbox{"coder-1"}), HasSubstr("may not take"));
  EXPECT_EQ(bench.refusal(client, registration("mine-1"), handed), "");
}

TEST(Handover, TellsHowThePolicyWantsTheSandboxMade) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  bench.agents->set_policy(
      policy_of("version: 1\nagents:\n  coder-1: {sandbox: {pids: 64, tmpfs: {/tmp: 1MiB}}}\n"));
  const std::string wanted = R"({"pids":64,"tmpfs":[{"bytes":1048576,"path":"/tmp"}]})";
  const Fd client = bench.connect();
  const auto asked = bench.ask(client, netns::AskSandbox{"coder-1"});
  ASSERT_TRUE(std::holds_alternative<netns::SandboxAsked>(asked));
  EXPECT_EQ(std::get<netns::SandboxAsked>(asked).sandbox, wanted);
  const auto stranger = bench.ask(client, netns::AskSandbox{"stranger"});
  EXPECT_EQ(std::get<netns::SandboxAsked>(stranger).sandbox, "{}");
  const auto answer = bench.ask(client, registration("coder-1"), numbers(fds, 0, whole.size()));
  ASSERT_TRUE(std::holds_alternative<netns::Registered>(answer));
  EXPECT_EQ(std::get<netns::Registered>(answer).sandbox, wanted);
}

TEST(Handover, TellsAPeerThatNoLineAdmitsSoInWords) {
  using Lines = std::vector<Config::Peer>;
  constexpr uid_t somebody_else = 4'000'000;
  Handover bench(PeerAccess(Lines{{Config::Peer::Kind::user, somebody_else, {"*"}}}));
  const Fd client = bench.connect();
  // Sluiced's own user may still ask to take over, and so is heard.
  EXPECT_THAT(bench.refusal(client, netns::AskPorts{"coder-1"}),
              HasSubstr("no line of sluiced's handover.peers admits it"));
  EXPECT_THAT(PeerAccess(Lines()).refusal(1000),
              HasSubstr("user 1000 may hand over no agents: no line"));
}

TEST(DnsSocket, OfAKernelWithoutIpv6AnswersFromTheAddressThatWasAsked) {
  Reloading bench;
  asio::io_context& io = bench.worker->io;
  const auto socket = std::make_shared<UdpSocket>(io);
  constexpr int on = 1;
  ErrorCode error;
  socket->open(asio::ip::udp::v4(), error);
  ::setsockopt(socket->native_handle(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  socket->bind({asio::ip::udp::v4(), 0}, error);
  ASSERT_FALSE(error) << error.message();
  spawn(io, serve_dns_udp(*bench.worker, bench.agent, socket));
  // Hears only whom it asks.
  const Fd client(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const asio::ip::udp::endpoint asked(asio::ip::make_address("127.0.0.2"),
                                      socket->local_endpoint().port());
  ASSERT_EQ(::connect(client.get(), asked.data(), static_cast<socklen_t>(asked.size())), 0);
  const std::string question("\x12\x34\1\0\0\1\0\0\0\0\0\0\7nowhere\4test\0\0\1\0\1", 30);
  ASSERT_EQ(::send(client.get(), question.data(), question.size(), 0), std::ssize(question));
  std::array<char, 512> reply{};
  ssize_t size = -1;
  bench.run_until([&] {
    if (size <= 0) size = ::recv(client.get(), reply.data(), reply.size(), 0);
    return size > 0;
  });
  ASSERT_GT(size, std::ssize(question)) << "with an address";
  EXPECT_EQ(std::string(reply.data(), 2), "\x12\x34");
  EXPECT_EQ(reply[3] & 15, 0);
  socket->close(error);
  bench.run_for(std::chrono::milliseconds(20));
}

}  // namespace
}  // namespace sluice::proxy
