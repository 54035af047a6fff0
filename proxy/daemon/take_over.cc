#include "proxy/daemon/take_over.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cstring>

#include "base/text.h"
#include "proxy/daemon/spawn.h"
#include "proxy/daemon/transfer.h"
#include "proxy/daemon/unix_socket.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using Kind = Inheritance::Kind;

constexpr timeval longest_silence{.tv_sec = 15, .tv_usec = 0};
constexpr auto hear_every = 20ms;
constexpr auto tell_every = 1s;

Failure cannot(const std::string& why) {
  return fail(Errc::unavailable, fmt::format("cannot take over: {}", text::printable(why)),
              "the running sluiced serves on as before");
}

Result<Fd> connect_to(const std::string& path) {
  auto link = connect_unix(path, SOCK_SEQPACKET);
  if (!link) {
    Error error = link.error();
    error.hint = "start this one without --take-over";
    return Failure(std::move(error));
  }
  ::setsockopt(link->get(), SOL_SOCKET, SO_RCVTIMEO, &longest_silence, sizeof longest_silence);
  ::setsockopt(link->get(), SOL_SOCKET, SO_SNDTIMEO, &longest_silence, sizeof longest_silence);
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool known = ::getsockopt(link->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  if (!known || (peer.uid != 0 && peer.uid != ::geteuid())) {
    return fail(Errc::not_permitted, fmt::format("who answers at '{}' is another user's", path));
  }
  return link;
}

// Blocks until a message has come.
Result<Received> next(int link) {
  Received received = receive_transfer(link);
  if (received.gone) return cannot(received.why);
  if (!received.message) return cannot("the running sluiced does not answer");
  if (const auto* refused = std::get_if<netns::Refused>(&*received.message)) {
    return cannot(refused->error);
  }
  return received;
}

int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// Its address as a person would write it; an error when it is no listening socket of this kind.
Result<std::string> address_of(Kind kind, int fd) {
  const bool is_local = kind == Kind::handover || kind == Kind::admin;
  const int type = kind == Kind::handover ? SOCK_SEQPACKET : SOCK_STREAM;
  const bool is_unix = option(fd, SO_DOMAIN) == AF_UNIX;
  if (is_unix != is_local || option(fd, SO_TYPE) != type || option(fd, SO_ACCEPTCONN) != 1) {
    return cannot("a socket that was handed over is not what it should be");
  }
  if (!is_local) {
    TcpEndpoint at;
    auto length = static_cast<socklen_t>(at.capacity());
    ::getsockname(fd, at.data(), &length);
    return Inheritance::address_text(from_asio(at.address()), at.port());
  }
  sockaddr_un address{};
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return std::string(address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path));
}

// Sorts one message after the other into an inheritance.
struct Collector {
  Inheritance& all;
  std::vector<netns::Binding> names;
  std::vector<netns::RoleSocket> sockets;
  std::vector<Fd> fds;
  bool complete = false;

  void take_sockets(const std::vector<netns::Role>& roles, std::size_t from) {
    for (std::size_t i = 0; i < roles.size(); ++i) {
      sockets.push_back({roles[i], std::move(fds[from + i])});
    }
  }

  Result<void> operator()(const netns::OwnSocket& message) {
    if (fds.size() != 1) return cannot("a listening socket is missing");
    auto address = address_of(message.kind, fds.front().get());
    if (!address) return Failure(address.error());
    all.listening.push_back({message.kind, std::move(*address), std::move(fds.front())});
    return {};
  }
  Result<void> operator()(netns::Names& message) {
    if (names.size() + message.names.size() > SyntheticNames::max_names) {
      return cannot("an agent has more names than it may");
    }
    std::move(message.names.begin(), message.names.end(), std::back_inserter(names));
    return {};
  }
  Result<void> operator()(const netns::Sockets& message) {
    if (fds.size() != message.sockets.size()) return cannot("a listener is missing");
    if (sockets.size() + fds.size() > netns::role_count + netns::max_ports) {
      return cannot("an agent has more listeners than it may");
    }
    take_sockets(message.sockets, 0);
    return {};
  }
  Result<void> operator()(netns::HandedPeer& message) {
    const std::size_t connections = message.holder ? 0 : 1;
    if (fds.size() != connections + message.sockets.size()) {
      return cannot("a supervisor's socket is missing");
    }
    take_sockets(message.sockets, connections);
    all.peers.push_back({.connection = message.holder ? Fd() : std::move(fds.front()),
                         .names = std::exchange(names, {}),
                         .agent = std::move(message.agent),
                         .sockets = std::exchange(sockets, {}),
                         .counted = std::move(message.counted),
                         .holder = message.holder.value_or(0),
                         .asked_ports = std::move(message.asked_ports),
                         .leased = std::move(message.leased)});
    return {};
  }
  Result<void> operator()(netns::Budgets& message) {
    all.budgets.push_back(std::move(message.lines));
    return {};
  }
  Result<void> operator()(const netns::Complete& message) {
    complete = true;
    if (message.peers != all.peers.size()) return cannot("a supervisor is missing");
    return {};
  }
  template <class Other>
  Result<void> operator()(const Other&) {
    return cannot("the running sluiced spoke out of turn");
  }
};

// Whoever handed listeners over still has them, and can make of them what no sluiced takes. That
// must not keep all others from a new one; of those who could as well end sluiced it is an error.
bool is_left_behind(uid_t holder, const Error& why) {
  if (may_take_over(holder)) return false;
  log::warning("an agent of user {} is not taken over: {}", holder, why.what);
  return true;
}

}  // namespace

std::string Inheritance::address_text(const IpAddress& address, std::uint16_t port) {
  return fmt::format("{} {}", address.to_string(), port);
}

Fd Inheritance::socket(Kind kind, const std::string& address) noexcept {
  for (Listening& one : listening) {
    if (one.kind == kind && one.address == address && one.fd) return std::move(one.fd);
  }
  return {};
}

Fd Inheritance::handover_socket() noexcept {
  for (Listening& one : listening) {
    if (one.kind == Kind::handover && one.fd) return std::move(one.fd);
  }
  return {};
}

Result<Inheritance> ask_to_take_over(const std::string& handover_socket) {
  auto link = connect_to(handover_socket);
  if (!link) return Failure(link.error());
  const netns::Request request = netns::TakeOver{netns::take_over_format};
  if (auto sent = netns::send_packet(link->get(), netns::encode(request)); !sent) {
    return cannot(sent.error().what);
  }
  Inheritance all;
  Collector collector{.all = all, .names = {}, .sockets = {}, .fds = {}};
  while (!collector.complete) {
    auto received = next(link->get());
    if (!received) return Failure(received.error());
    collector.fds = std::move(received->fds);
    auto collected = std::visit(collector, *received->message);
    if (!collected) return Failure(collected.error());
  }
  all.link = std::move(*link);
  return all;
}

Result<void> take_possession(const Inheritance& inheritance) {
  if (!send_transfer(inheritance.link.get(), netns::Taken{})) return cannot("it has ended");
  const auto answer = next(inheritance.link.get());
  if (!answer) return Failure(answer.error());
  if (!std::holds_alternative<netns::Yours>(*answer->message)) {
    return cannot("the running sluiced spoke out of turn");
  }
  ::fcntl(inheritance.link.get(), F_SETFL, O_NONBLOCK);
  return {};
}

Result<std::shared_ptr<Registration>> Predecessor::add(Inheritance::Supervised one,
                                                       std::shared_ptr<const Fd> peer) {
  auto registration = agents_.add({.name = std::move(one.agent),
                                   .sockets = std::move(one.sockets),
                                   .names = std::move(one.names),
                                   .peer = std::move(peer),
                                   .holder = one.holder});
  if (!registration) return registration;
  (*registration)->carried = std::move(one.counted);
  adopted_.emplace((*registration)->id(), Adopted{*registration});
  return registration;
}

Result<void> Predecessor::adopt(std::vector<Inheritance::Supervised> supervised, Peers& peers) {
  std::vector<std::pair<Peer*, std::string>> of_leases;
  for (Inheritance::Supervised& one : supervised) {
    if (!one.connection) {
      const uid_t holder = one.holder;
      auto leased = add(std::move(one), nullptr);
      if (leased) {
        peers.adopt(std::move(*leased));
      } else if (!is_left_behind(holder, leased.error())) {
        return Failure(leased.error());
      }
      continue;
    }
    auto peer = peers.known(std::move(one.connection));
    peer->ask_ports(std::move(one.asked_ports));
    one.holder = peer->uid;
    of_leases.emplace_back(peer.get(), std::move(one.leased));
    if (one.agent.empty()) {
      peer->names = std::move(one.names);
    } else {
      auto registration = add(std::move(one), peer->socket);
      if (!registration) {
        of_leases.pop_back();
        if (is_left_behind(peer->uid, registration.error())) continue;
        return Failure(registration.error());
      }
      peer->registration = std::move(*registration);
    }
    peers.adopt(std::move(peer));
  }
  for (const auto& [peer, name] : of_leases) {
    const auto lease = peers.leases().find(name);
    if (lease != peers.leases().end()) peer->leased = lease->second;
  }
  return {};
}

bool Predecessor::counts(const Registration& registration) {
  const auto found = adopted_.find(registration.id());
  if (!link_ || found == adopted_.end() || found->second.registration.get() != &registration) {
    return false;
  }
  bool& told = found->second.told;
  told = told || send_transfer(link_.get(), netns::Ended{registration.id()});
  hear();
  return link_ && adopted_.contains(registration.id());
}

bool Predecessor::lives() {
  hear();
  return bool(link_);
}

void Predecessor::take_in(const netns::Counted& counted) {
  const auto found = adopted_.find(counted.agent_id);
  if (found == adopted_.end()) return;
  netns::add(found->second.registration->carried, counted.more);
  if (counted.last) adopted_.erase(found);
}

void Predecessor::hear() {
  while (link_) {
    const Received received = receive_transfer(link_.get());
    if (!received.message && !received.gone) return;
    if (received.gone) {
      log::info("the sluiced before this one is gone: {}", text::printable(received.why));
      link_.reset();
    } else if (const auto* counted = std::get_if<netns::Counted>(&*received.message)) {
      take_in(*counted);
    } else if (const auto* spent = std::get_if<netns::Spent>(&*received.message)) {
      (void)agents_.allowances().add(spent->lines, Allowance::Utc::now());
    }
  }
  adopted_.clear();
}

Task<void> Predecessor::attend(asio::io_context& io) {
  Timer pause(io);
  for (auto tell_at = Clock::now() + tell_every; link_;) {
    hear();
    if (link_ && Clock::now() >= tell_at) {
      tell_at += tell_every;
      (void)teller_.tell(link_.get(), agents_.allowances().take_untold(Allowance::Utc::now()));
    }
    pause.expires_after(hear_every);
    co_await pause.async_wait();
  }
}

}  // namespace sluice::proxy
