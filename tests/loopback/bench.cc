#include "tests/loopback/bench.h"

#include <fmt/core.h>
#include <signal.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include "allowlists/load.h"
#include "proxy/daemon/spawn.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<const allowlists::Policy> policy_of(std::string_view allow) {
  const allowlists::Source source{
      "policy.yaml", fmt::format("version: 1\nagents:\n  coder-1:\n    allow:\n{}", allow)};
  auto loaded = allowlists::load(std::span(&source, 1));
  if (!loaded) throw std::runtime_error(to_string(loaded.error().front()));
  return loaded->policy;
}

}  // namespace

Bench::Bench(std::string_view allow, std::string_view hosts) {
  ::signal(SIGPIPE, SIG_IGN);  // as sluiced does
  auto settings = std::make_shared<ResolverSettings>();
  settings->hosts = HostsFile::parse(hosts);
  settings->servers = {{IpAddress::v4(0x7f000001), 9}};  // nobody answers there
  settings->timeout = 500ms;
  worker = std::move(*Worker::create(shared, settings));
  auto pair = netns::socket_pair();
  peer_ = std::move(pair->second);
  agent = std::make_shared<Agent>("coder-1", policy_of(allow), registry.agent("coder-1"),
                                  std::make_shared<const Fd>(std::move(pair->first)));
  spawn(worker->io, worker->wheel.run());
}

Task<void> Bench::serve_origin_connection(Socket socket, AnswerTo answer, bool closes) {
  std::string so_far;
  for (;;) {
    if (const auto reply = answer(so_far)) {
      co_await asio::async_write(socket, asio::buffer(*reply), Token());
      so_far.clear();
      if (closes) co_return;
    }
    std::array<char, 4096> chunk;
    const auto [error, size] = co_await socket.async_read_some(asio::buffer(chunk));
    if (error) co_return;
    so_far.append(chunk.data(), size);
    origin_heard_.append(chunk.data(), size);
  }
}

Task<void> Bench::serve_origin(std::shared_ptr<Acceptor> acceptor, AnswerTo answer, bool closes) {
  for (;;) {
    auto [error, socket] = co_await acceptor->async_accept();
    if (error) co_return;
    ++origin_connections_;
    spawn(worker->io, serve_origin_connection(std::move(socket), answer, closes));
  }
}

std::uint16_t Bench::origin_on(std::uint16_t wanted, AnswerTo answer, bool closes) {
  const TcpEndpoint at(asio::ip::address_v4::loopback(), wanted);
  auto acceptor = std::make_shared<Acceptor>(worker->io, at);
  const std::uint16_t port = acceptor->local_endpoint().port();
  spawn(worker->io, serve_origin(acceptor, std::move(answer), closes));
  return port;
}

std::string Bench::talk(netns::Role role, std::string_view bytes, std::size_t piece,
                        Enough enough) {
  Acceptor listener(worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  std::string heard;
  bool over = false;
  const auto converse = [&](Socket socket) -> Task<void> {
    std::string_view left = bytes;
    while (!left.empty()) {
      const std::string_view part = left.substr(0, piece);
      const auto [error, written] = co_await asio::async_write(socket, asio::buffer(part), Token());
      if (error) break;
      left.remove_prefix(written);
    }
    for (;;) {
      if (enough && enough(heard)) break;
      std::array<char, 4096> chunk;
      const auto [error, size] = co_await socket.async_read_some(asio::buffer(chunk));
      if (error) break;
      heard.append(chunk.data(), size);
    }
    over = true;
  };
  Socket client(worker->io);
  client.connect(listener.local_endpoint());
  // The first bytes are there before anybody waits for them.
  spawn(worker->io, converse(std::move(client)));
  spawn(worker->io, serve(*worker, agent, Socket(listener.accept()), role));
  run_until(worker->io, [&] { return over && agent->sessions == 0; });
  EXPECT_TRUE(over) << "the conversation did not end; heard so far: " << heard;
  EXPECT_EQ(agent->sessions, 0) << "a session is left";
  return heard;
}

}  // namespace sluice::proxy
