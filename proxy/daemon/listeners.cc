#include "proxy/daemon/listeners.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>

#include "proxy/daemon/spawn.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// After a failed accept (descriptors, memory or epoll watches used up): long enough not to spin.
constexpr auto accept_pause = 100ms;
// While the only agent of a listener has as many connections as it may, its next one waits
// unserved and those behind it in the listener's backlog.
constexpr auto full_pause = 20ms;

bool is_closed(const ErrorCode& error) {
  return error == asio::error::operation_aborted || error == asio::error::bad_descriptor;
}

void receive(Door& door, Worker& worker, Socket socket, const TcpEndpoint& from) noexcept try {
  door.receive(worker, std::move(socket), from_asio(from.address()));
} catch (const std::exception& error) {
  // This connection is closed; the listener stays.
}

Task<void> accept_all(Worker& worker, std::shared_ptr<Door> door,
                      std::shared_ptr<Acceptor> acceptor) {
  Timer pause(worker.io);
  TcpEndpoint from;
  while (acceptor->is_open()) {
    auto [error, socket] = co_await acceptor->async_accept(from);
    if (!error) {
      while (door->is_full(worker) && acceptor->is_open()) {
        pause.expires_after(full_pause);
        co_await pause.async_wait();
      }
      receive(*door, worker, std::move(socket), from);
      continue;
    }
    if (is_closed(error)) co_return;
    if (error == asio::error::connection_aborted) continue;  // it went away while it waited
    // Connections that nobody uses go first.
    if (error == asio::error::no_descriptors && worker.origins.make_room()) continue;
    log::warning("cannot accept a connection on {}: {}", door->name(), error.message());
    pause.expires_after(accept_pause);
    co_await pause.async_wait();
  }
}

}  // namespace

struct Listeners::Thread {
  explicit Thread(Worker& its_worker) : worker(its_worker) {}
  Worker& worker;
  std::vector<std::pair<std::shared_ptr<Door>, std::shared_ptr<Acceptor>>> acceptors;

  // The kernel's state is shared; the descriptor is this thread's.
  Result<void> open(const Place& place) {
    Fd copy(::fcntl(place.socket.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) return fail_errno(Errc::unavailable, "cannot duplicate a listener");
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    ::getsockname(copy.get(), reinterpret_cast<sockaddr*>(&own), &size);
    auto acceptor = std::make_shared<Acceptor>(worker.io);
    ErrorCode error;
    acceptor->assign(own.ss_family == AF_INET ? Tcp::v4() : Tcp::v6(), copy.get(), error);
    if (error)
      return fail(Errc::unavailable, fmt::format("cannot watch a listener: {}", error.message()));
    (void)copy.release();
    acceptors.emplace_back(place.door, std::move(acceptor));
    return {};
  }
  void close() noexcept {
    ErrorCode ignored;
    for (const auto& [door, acceptor] : acceptors) acceptor->close(ignored);
  }
};

Result<Fd> listen_on(const Endpoint& at) {
  const TcpEndpoint endpoint(to_asio(at.address), at.port);
  Fd listener(
      ::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail_errno(Errc::unavailable, "socket");
  const int one = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  // Accepted sockets inherit it: see netns/sockets.cc.
  ::setsockopt(listener.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  // An IPv4 client must never arrive as an IPv6 address that no range of the configuration has.
  if (!at.address.is_v4()) {
    ::setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  }
  const bool bound =
      ::bind(listener.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) == 0;
  if (!bound || ::listen(listener.get(), SOMAXCONN) != 0) {
    const std::string address = at.address.to_string();
    return fail_errno(
        Errc::unavailable,
        fmt::format(fmt::runtime(at.address.is_v4() ? "cannot listen on {}:{}"
                                                    : "cannot listen on [{}]:{}"),
                    address, at.port),
        errno == EADDRINUSE      ? "another program has the port; change the address in 'listen'"
        : errno == EADDRNOTAVAIL ? "this machine has no such address now; see 'ip address'"
                                 : "change the address in 'listen'");
  }
  return listener;
}

Result<std::vector<ReadyListener>> ready_listeners(
    const std::vector<Config::Listener>& configured) {
  std::vector<ReadyListener> ready;
  for (const Config::Listener& listener : configured) {
    ReadyListener one{.config = listener};
    if (listener.tls) {
      auto tls = TlsFront::create(*listener.tls);
      if (!tls) return Failure(tls.error());
      one.tls = std::move(*tls);
    }
    ready.push_back(std::move(one));
  }
  return ready;
}

Result<std::unique_ptr<Listeners>> Listeners::create(
    const std::vector<std::unique_ptr<Worker>>& workers, ListenerAgents& agents,
    std::vector<ReadyListener> listeners) {
  std::unique_ptr<Listeners> all(new Listeners(workers));
  for (ReadyListener& listener : listeners) {
    auto door = Door::create(listener.config, std::move(listener.tls), agents,
                             workers.front()->shared.limits);
    if (!door) return Failure(door.error());
    all->places_.push_back({std::move(*door), std::move(listener.socket)});
  }
  return all;
}

Listeners::~Listeners() {
  for (const Place& place : places_) place.door->end();
}

Result<void> Listeners::serve() {
  std::vector<std::shared_ptr<Thread>> threads;
  for (const auto& worker : workers_) {
    threads.push_back(std::make_shared<Thread>(*worker));
    for (const Place& place : places_) {
      if (auto opened = threads.back()->open(place); !opened) return Failure(opened.error());
    }
  }
  threads_ = std::move(threads);
  for (const auto& thread : threads_) {
    asio::post(thread->worker.io, [thread] {
      for (const auto& [door, acceptor] : thread->acceptors) {
        spawn(thread->worker.io, accept_all(thread->worker, door, acceptor));
      }
    });
  }
  return {};
}

void Listeners::rest() {
  for (const auto& thread : std::exchange(threads_, {})) {
    ++*accepting_;
    asio::post(thread->worker.io, [thread, accepting = accepting_] {
      thread->close();
      --*accepting;
    });
  }
}

void Listeners::close() {
  rest();
  for (Place& place : places_) place.socket.reset();
}

std::vector<int> Listeners::sockets() const {
  std::vector<int> open;
  for (const Place& place : places_) {
    if (place.socket) open.push_back(place.socket.get());
  }
  return open;
}

int Listeners::fronts() const noexcept {
  int open = 0;
  for (const Place& place : places_) open += place.door->fronts();
  return open;
}

}  // namespace sluice::proxy
