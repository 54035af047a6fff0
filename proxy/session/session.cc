#include "proxy/session/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <charconv>

#include "allowlists/address_guard.h"
#include "proxy/session/at_once.h"
#include "proxy/session/dns.h"
#include "proxy/session/drain.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// What a refused agent may still send before its connection is cut.
constexpr std::size_t drained_bytes = std::size_t{8} * 1024 * 1024;
constexpr auto drained_time = 1s;

// SOCKS4 "request rejected or failed": version 0, code 91, six bytes that mean nothing.
constexpr std::string_view socks4_rejected{"\0\x5b\0\0\0\0\0\0", 8};

// "b00b-0-17", in audit lines.
std::string name_of_next(Worker& worker) {
  std::string name;
  name.reserve(worker.shared.loop_token.size() + 24);
  name.append(worker.shared.loop_token).append("-");
  const auto add = [&name](std::uint64_t number) {
    std::array<char, 20> digits;
    const auto [end, error] = std::to_chars(digits.begin(), digits.end(), number);
    name.append(digits.data(), end);
  };
  add(worker.index);
  name += '-';
  add(++worker.sessions_begun);
  return name;
}

// Not in the frame of whoever calls it, which every session has.
void account_for(Session& session, metrics::Via via, std::string_view protocol,
                 std::string_view why) {
  Visit visit = session.gate.malformed(via, protocol, Reason::bad_request);
  session.gate.refuse(visit, Reason::bad_request, std::string(why));
}

Task<void> serve_proxy_port(Session& session) {
  session.deadline.arm(session.worker.shared.timeouts.first_byte);
  const bool spoke = co_await session.more();
  if (!spoke) co_return;
  switch (session.inbox.view().front()) {
    case wire::socks_version:
      co_await serve_socks(session);
      break;
    case 4:
      account_for(session, metrics::Via::socks5, "SOCKS4", "SOCKS4 is not spoken here, use SOCKS5");
      co_await session.say_and_close(socks4_rejected);
      break;
    case '\x16':
      account_for(session, metrics::Via::http, "TLS", "TLS to the proxy itself is not spoken here");
      co_await session.say_and_close(wire::tls_alert(Reason::bad_request));
      break;
    default:
      co_await serve_http(session, HttpMode());
  }
}

}  // namespace

Session::Session(Worker& its_worker, std::shared_ptr<Agent> its_agent, Socket connection,
                 Caller its_caller)
    : worker(its_worker),
      agent(std::move(its_agent)),
      gate(worker, agent, name_of_next(worker)),
      caller(std::move(its_caller)),
      socket(std::move(connection)),
      origin(worker.io),
      deadline(worker.wheel, socket) {
  deadline.watch_also(&origin);
  if (const auto lifetime = worker.shared.timeouts.lifetime; lifetime.count() > 0) {
    deadline.never_beyond(Clock::now() + lifetime);
  }
  reviewed = worker.reviews_begun;
  worker.sessions->push_back(*this);
  ++agent->sessions;
  if (caller.link) caller.link->on_broken([this] { lose_agent(); });
}

Session::~Session() {
  if (caller.link) caller.link->on_broken(nullptr);
  --agent->sessions;
}

void Session::become(std::shared_ptr<Agent> whom) noexcept {
  drop_origin();
  ++whom->sessions;
  --agent->sessions;
  agent = std::move(whom);
  gate.set_agent(agent);
}

Task<bool> Session::more() {
  const auto [error, size] = co_await socket.async_read_some(inbox.room());
  inbox.add(size);
  co_return !error;
}

Task<bool> Session::say(std::string_view bytes) {
  bytes.remove_prefix(write_at_once(socket, bytes));
  if (bytes.empty()) co_return true;
  // An agent that does not read what it is told must not hold its connection for ever.
  if (!deadline.is_linked()) deadline.arm(worker.shared.timeouts.idle);
  const auto [error, size] = co_await asio::async_write(socket, asio::buffer(bytes), Token());
  co_return !error;
}

Task<void> Session::say_and_close(std::string_view bytes) {
  deadline.arm(drained_time);
  bool said = !bytes.empty();
  if (said) said = co_await say(bytes);
  if (!said) {
    reset();
    co_return;
  }
  co_await drain_and_close();
}

Task<void> Session::drain_and_close() {
  const DrainLimits limits{.bytes = drained_bytes, .time = drained_time};
  co_await proxy::drain_and_close(socket, deadline, limits);
}

void Session::reset() noexcept {
  deadline.disarm();
  ErrorCode ignored;  // the connection may be gone already
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
  if (caller.link) caller.link->reset();
}

Task<void> Session::pause(Clock::duration wait, metrics::Direction direction) {
  const auto idle = worker.shared.timeouts.idle;
  const auto until = std::min(Clock::now() + wait, deadline.end());
  Timer timer(worker.io);
  waits_for_turn(direction, &timer);
  while (Clock::now() < until && socket.is_open() && origin.is_open()) {
    // Waiting for its turn is not idling, and the other direction arms it for less.
    deadline.arm(idle);
    timer.expires_at(std::min(until, Clock::now() + idle / 2));
    co_await timer.async_wait();
  }
  waits_for_turn(direction, nullptr);
}

void Session::wake() noexcept {
  for (Timer* timer : pauses_) {
    if (timer != nullptr) timer->cancel();
  }
}

void Session::break_off() noexcept {
  broken_off = true;
  gate.give_up_dialling();
  wake();
  ErrorCode ignored;
  socket.close(ignored);
  origin.close(ignored);
}

void Session::connect(Dialled dialled, const Visit& visit) {
  origin = std::move(dialled.socket);
  connected.emplace(Connected{*visit.target, dialled.address, visit.rules});
}

void Session::drop_origin() noexcept {
  ErrorCode ignored;
  origin.close(ignored);
  connected.reset();
}

// Its TLS broke, which the end of the plain bytes does not tell.
void Session::lose_agent() noexcept {
  wake();
  ErrorCode ignored;
  socket.close(ignored);
  origin.close(ignored);
}

// Resets on both sides: neither may take what it has for the whole.
void Session::revoke() noexcept {
  ErrorCode ignored;
  origin.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  break_off();
  if (caller.link) caller.link->reset();
}

void Session::review() noexcept try {
  // Before it is connected, Gate::dial() judges it once more.
  if (broken_off || !connected || !origin.is_open()) return;
  if (carrying != nullptr) {
    if (!gate.still_carries(*carrying, &connected->address)) {
      revoke();
      return;
    }
    connected->judged_by = carrying->rules;
  } else if (!gate.may_keep(connected->target, connected->address)) {
    drop_origin();  // kept for a next request
  }
} catch (const std::bad_alloc&) {
  break_off();  // what cannot be judged does not go on
}

bool resolve_synthetic(const Agent& agent, allowlists::Target& target) {
  if (target.host.is_name() || !allowlists::is_synthetic(target.host.address())) return true;
  const auto index = allowlists::synthetic_index(target.host.address());
  const auto name = index ? agent.names.find(*index) : std::nullopt;
  if (!name) return false;
  auto host = allowlists::Host::parse(*name);
  if (!host) return false;
  target.host = std::move(*host);
  return true;
}

Task<void> serve(Worker& worker, std::shared_ptr<Agent> agent, Socket socket, netns::Role role) {
  Session session(worker, std::move(agent), std::move(socket));
  switch (role) {
    case netns::Role::proxy:
      co_await serve_proxy_port(session);
      break;
    case netns::Role::dns_tcp:
      co_await serve_dns_tcp(session);
      break;
    case netns::Role::tproxy4:
    case netns::Role::tproxy6:
    case netns::Role::port:
      co_await serve_transparent(session);
      break;
    case netns::Role::dns_udp:  // no connections: serve_dns_udp()
      break;
  }
  if (session.allowed) co_await carry(session);
}

Task<void> serve_caller(Worker& worker, std::shared_ptr<Agent> agent, Socket socket,
                        Caller caller) {
  Session session(worker, std::move(agent), std::move(socket), std::move(caller));
  co_await serve_proxy_port(session);
  if (session.allowed) co_await carry(session);
}

}  // namespace sluice::proxy
