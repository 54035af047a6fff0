#include "proxy/daemon/listeners.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>

#include "proxy/daemon/intake.h"
#include "proxy/daemon/spawn.h"

namespace sluice::proxy {
namespace {

class DoorIntake final : public Intake {
 public:
  DoorIntake(Worker& worker, std::shared_ptr<Door> door) : Intake(worker), door_(std::move(door)) {}

 private:
  bool is_full() const noexcept override { return door_->is_full(worker()); }
  void take(Socket socket, const IpAddress& from) override {
    door_->receive(worker(), std::move(socket), from);
  }
  std::string what() const override { return "a connection on " + door_->name(); }

  const std::shared_ptr<Door> door_;
};

}  // namespace

struct Listeners::Thread {
  explicit Thread(Worker& its_worker) : worker(its_worker) {}
  Worker& worker;
  std::vector<std::shared_ptr<Intake>> intakes;

  Result<void> open(const Place& place) {
    intakes.push_back(std::make_shared<DoorIntake>(worker, place.door));
    return intakes.back()->open(place.socket.get());
  }
  void close() noexcept {
    for (const auto& intake : intakes) intake->close();
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
      for (const auto& intake : thread->intakes) {
        spawn(thread->worker.io, Intake::serve(intake));
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
