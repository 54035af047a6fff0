// Registered agents that come and go, with the listeners of a network namespace of their own.
#include "proxy/daemon/agents.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/wait.h>

#include "netns/network.h"
#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

constexpr int clients = 2;

// The listeners, and two connections to the proxy port that wait in its backlog.
bool send_agent_network(int to) {
  const int flags = ::geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER;
  if (::unshare(flags) != 0) return false;
  const auto sockets = netns::build_agent_network();
  if (!sockets) return false;
  std::vector<int> fds;
  for (const auto& socket : *sockets) fds.push_back(socket.fd.get());
  const TcpEndpoint proxy(asio::ip::address_v4::loopback(), 3128);
  for (int i = 0; i < clients; ++i) {
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(client, proxy.data(), static_cast<socklen_t>(proxy.size())) != 0) return false;
    fds.push_back(client);
  }
  return netns::send_packet(to, "network", fds).has_value();
}

// In a child process: a namespace cannot be left again. Nothing where none can be made.
std::vector<Fd> agent_network() {
  auto ends = netns::socket_pair();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    ::_exit(send_agent_network(ends->second.get()) ? 0 : 1);
  }
  ends->second.reset();
  auto packet = netns::receive_packet(ends->first.get());
  ::waitpid(child, nullptr, 0);
  return packet && *packet ? std::move((*packet)->fds) : std::vector<Fd>();
}

// The worker of a bench, which keeps it.
class OfBench {
 public:
  explicit OfBench(Bench& bench) { workers.emplace_back(bench.worker.get()); }
  ~OfBench() { (void)workers.front().release(); }
  OfBench(const OfBench&) = delete;
  OfBench& operator=(const OfBench&) = delete;
  Workers workers;
};

TEST(Agents, ThatAreGoneHaveNoConnectionServedThatWaitedForAPlace) {
  std::vector<Fd> fds = agent_network();
  if (fds.size() != netns::role_count + clients) GTEST_SKIP() << "no network namespace can be made";
  Bench bench("      - {host: nowhere.test}\n");
  const std::uint16_t port = bench.origin([](const std::string& so_far) {
    return so_far.empty()
               ? std::nullopt
               : std::optional<std::string>("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  });
  bench.shared.limits.connections_per_agent = 1;
  OfBench of_bench(bench);
  asio::io_context& io = bench.worker->io;
  Agents agents(of_bench.workers, bench.shared);
  agents.set_policy(policy_of(text_of(allow_host("allowed.test", port) + allow_loopback(port))));
  Agents::Application application{.name = "coder-1", .peer = std::make_shared<const Fd>()};
  for (std::size_t i = 0; i < netns::role_count; ++i) {
    application.sockets.push_back({static_cast<netns::Role>(i), std::move(fds[i])});
  }
  const auto added = agents.add(std::move(application));
  ASSERT_TRUE(added) << to_string(added.error());
  agents.serve(**added);
  const std::string request =
      fmt::format("GET http://allowed.test:{}/ HTTP/1.1\r\nHost: a\r\n\r\n", port);
  const int waits = fds[netns::role_count + 1].get();
  ASSERT_EQ(::send(waits, request.data(), request.size(), 0), std::ssize(request));
  io.run_for(300ms);
  EXPECT_EQ((*added)->agent->sessions, 1);
  EXPECT_EQ(bench.origin_connections(), 0) << "the first, which says nothing, has the only place";
  agents.remove(**added);
  io.run_for(500ms);
  EXPECT_EQ(bench.origin_connections(), 0);
  EXPECT_EQ((*added)->agent->sessions, 0);
  char byte = 0;
  EXPECT_LE(::recv(waits, &byte, 1, MSG_DONTWAIT), 0);
}

}  // namespace
}  // namespace sluice::proxy
