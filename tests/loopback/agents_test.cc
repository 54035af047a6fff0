// Registered agents that come and go, with the listeners of a network namespace of their own.
#include "proxy/daemon/agents.h"

#include <gmock/gmock.h>

#include "proxy/daemon/accept_within.h"
#include "tests/loopback/handing_over.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

constexpr int clients = 2;

// Two connections to the proxy port that wait in its backlog.
std::vector<Fd> waiting_clients() {
  std::vector<Fd> made;
  const TcpEndpoint proxy(asio::ip::address_v4::loopback(), 3128);
  for (int i = 0; i < clients; ++i) {
    const Fd& client = made.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::connect(client.get(), proxy.data(), static_cast<socklen_t>(proxy.size()));
  }
  return made;
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
  std::vector<Fd> fds = agent_network(waiting_clients);
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
  EXPECT_TRUE(run_until(io, [&] { return (*added)->agent->sessions == 1; }));
  run_for(io, 300ms);
  EXPECT_EQ((*added)->agent->sessions, 1);
  EXPECT_EQ(bench.origin_connections(), 0) << "the first, which says nothing, has the only place";
  agents.remove(**added);
  EXPECT_TRUE(run_until(io, [&] { return (*added)->agent->sessions == 0; }));
  run_for(io, 500ms);
  EXPECT_EQ(bench.origin_connections(), 0);
  EXPECT_EQ((*added)->agent->sessions, 0);
  char byte = 0;
  EXPECT_LE(::recv(waits, &byte, 1, MSG_DONTWAIT), 0);
}

TEST(Agents, OfAnotherUserCannotMakeSluicedWaitForAConnectionThatIsGone) {
  const Fd listener = port_listener(0);
  const int flags = ::fcntl(listener.get(), F_GETFL);
  EXPECT_FALSE(would_wait(listener.get()));
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  const auto accept_errno = [&] {
    auto* const at = reinterpret_cast<sockaddr*>(&from);
    return accept_within_bounds(listener.get(), at, &size) ? 0 : errno;
  };
  EXPECT_EQ(accept_errno(), EAGAIN);
  ::fcntl(listener.get(), F_SETFL, flags & ~O_NONBLOCK);
  EXPECT_TRUE(would_wait(listener.get()));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(accept_errno(), EINTR);
  ::fcntl(listener.get(), F_SETFL, flags);
  EXPECT_EQ(accept_errno(), EAGAIN);
}

TEST(Agents, OfAnotherUserAreServedUntilTheirListenersAreMadeBlocking) {
  std::vector<Fd> fds = agent_network([] {
    std::vector<Fd> made;
    for (int i = 0; i < 2; ++i) {
      made.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    }
    return made;
  });
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  Agents::Application application{.name = "coder-2", .sockets = {}, .names = {}};
  application.holder = 4'000'000;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    application.sockets.push_back({whole[i], Fd(::dup(fds[i].get()))});
  }
  const auto added = bench.agents->add(std::move(application));
  ASSERT_TRUE(added) << to_string(added.error());
  bench.agents->serve(**added);
  const TcpEndpoint to(asio::ip::address_v4::loopback(), 3128);
  const auto connect = [&](const Fd& client) {
    return ::connect(client.get(), to.data(), static_cast<socklen_t>(to.size()));
  };
  ASSERT_EQ(connect(fds[5]), 0);
  bench.run_until([&] { return (*added)->agent->sessions == 1; });
  const int proxy = fds[4].get();
  ::fcntl(proxy, F_SETFL, ::fcntl(proxy, F_GETFL) & ~O_NONBLOCK);
  ASSERT_EQ(connect(fds[6]), 0);
  ASSERT_TRUE(can_be_read(proxy, patience));
  bench.settle();
  ::fcntl(proxy, F_SETFL, ::fcntl(proxy, F_GETFL) | O_NONBLOCK);
  bench.settle();
  EXPECT_EQ((*added)->agent->sessions, 1) << "those who are there stay";
  bench.agents->remove(**added);
  bench.run_until([&] { return (*added)->agent->sessions == 0; });
}

}  // namespace
}  // namespace sluice::proxy
