#include "proxy/daemon/handover_server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include "proxy/daemon/spawn.h"
#include "proxy/daemon/unix_socket.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

using Descriptor = Token::as_default_on_t<asio::posix::basic_stream_descriptor<Executor>>;

// Broken-off sessions write their last audit lines within this time; totals wait for them.
constexpr auto longest_farewell = 1s;
constexpr auto accept_pause = 100ms;

// One peer's conversation.
class Peer {
 public:
  Peer(asio::io_context& io, Agents& agents, std::shared_ptr<const Fd> socket)
      : io_(io), agents_(agents), socket_(std::move(socket)) {}

  ~Peer() {
    if (registration_) agents_.remove(*registration_);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // False: the conversation is over.
  Task<bool> hear(netns::Packet packet);

 private:
  bool say(const netns::Answer& answer) {
    return netns::send_packet(socket_->get(), netns::encode(answer)).has_value();
  }
  bool refuse(const Error& error) {
    const std::string text =
        error.hint.empty() ? error.what : fmt::format("{} ({})", error.what, error.hint);
    log::warning("a registration was refused: {}", text);
    return say(netns::Refused{text});
  }
  bool remember(netns::Names request);
  bool enroll(netns::Register request, std::vector<Fd> fds);
  Task<bool> dismiss();

  asio::io_context& io_;
  Agents& agents_;
  std::shared_ptr<const Fd> socket_;
  std::vector<netns::Binding> names_;
  std::shared_ptr<Registration> registration_;
};

bool Peer::remember(netns::Names request) {
  if (registration_ || names_.size() + request.names.size() > SyntheticNames::max_names) {
    return refuse(
        {Errc::bad_config, "names come before the registration, and at most 16384", "", {}});
  }
  std::move(request.names.begin(), request.names.end(), std::back_inserter(names_));
  return say(netns::Accepted{});
}

bool Peer::enroll(netns::Register request, std::vector<Fd> fds) {
  if (registration_)
    return refuse({Errc::bad_config, "this connection has a registration", "", {}});
  if (fds.size() != request.sockets.size()) {
    return refuse({Errc::bad_config, "not as many descriptors as sockets are named", "", {}});
  }
  Agents::Application application{.name = std::move(request.agent), .peer = socket_};
  for (std::size_t i = 0; i < fds.size(); ++i) {
    application.sockets.push_back({request.sockets[i], std::move(fds[i])});
  }
  application.names = std::move(names_);
  names_.clear();
  std::move(request.names.begin(), request.names.end(), std::back_inserter(application.names));
  auto registration = agents_.add(std::move(application));
  if (!registration) return refuse(registration.error());
  registration_ = std::move(*registration);
  return say(netns::Registered{
      fmt::format("{}-{:x}", registration_->agent->name, registration_->netns_cookie)});
}

Task<bool> Peer::dismiss() {
  if (!registration_) {
    const Error error{Errc::bad_config, "nothing is registered", "", {}};
    co_return refuse(error);
  }
  const auto registration = std::exchange(registration_, nullptr);
  agents_.remove(*registration);
  Timer pause(io_);
  const Clock::time_point until = Clock::now() + longest_farewell;
  do {
    pause.expires_after(2ms);
    co_await pause.async_wait();
  } while (registration->agent->sessions > 0 && Clock::now() < until);
  const metrics::Totals counted = registration->agent->metrics->totals();
  netns::Totals totals{
      .allowed = counted.allowed, .bytes_up = counted.bytes_up, .bytes_down = counted.bytes_down};
  for (std::size_t i = 0; i < reason_count; ++i) {
    const std::uint64_t count = counted.denied[i] + counted.dns_denied[i];
    const std::string name(reason_name(static_cast<Reason>(i)));
    if (count > 0) totals.denied[name] = count;
    if (counted.reported[i] > 0) totals.reported[name] = counted.reported[i];
  }
  co_return say(totals);
}

Task<bool> Peer::hear(netns::Packet packet) {
  auto request = netns::decode_request(packet.bytes);
  if (!request) {
    refuse(request.error());
    co_return false;
  }
  if (auto* names = std::get_if<netns::Names>(&*request)) co_return remember(std::move(*names));
  if (auto* enrolled = std::get_if<netns::Register>(&*request)) {
    co_return enroll(std::move(*enrolled), std::move(packet.fds));
  }
  co_return co_await dismiss();
}

bool may_hand_over(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

}  // namespace

Task<void> serve_peer(asio::io_context& io, Agents& agents, Fd owned) {
  const auto socket = std::make_shared<const Fd>(std::move(owned));
  ::fcntl(socket->get(), F_SETFL, O_NONBLOCK);
  Descriptor readable(io);
  ErrorCode error;
  const int watched = ::fcntl(socket->get(), F_DUPFD_CLOEXEC, 3);
  readable.assign(watched, error);
  if (error) {
    log::error("cannot watch a handover connection: {}", error.message());
    if (watched >= 0) ::close(watched);
    co_return;
  }
  Peer peer(io, agents, socket);
  for (;;) {
    const auto [waiting] = co_await readable.async_wait(Descriptor::wait_read);
    if (waiting) co_return;
    auto packet = netns::receive_packet(socket->get());
    if (!packet) {
      log::warning("a handover connection broke: {}", packet.error().what);
      co_return;
    }
    if (!*packet) continue;
    if ((*packet)->closed) co_return;
    if (!co_await peer.hear(std::move(**packet))) co_return;
  }
}

Task<void> accept_peers(asio::io_context& io, Agents& agents, Fd listener) {
  Descriptor readable(io);
  ErrorCode error;
  readable.assign(listener.get(), error);
  if (error) co_return;
  (void)listener.release();
  Timer pause(io);
  for (;;) {
    const auto [waiting] = co_await readable.async_wait(Descriptor::wait_read);
    if (waiting) co_return;
    Fd peer(::accept4(readable.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) {
      pause.expires_after(accept_pause);
      co_await pause.async_wait();
      continue;
    }
    if (may_hand_over(peer.get())) {
      spawn(io, serve_peer(io, agents, std::move(peer)));
      continue;
    }
    log::warning("a peer that is neither root nor sluiced's user was turned away");
    (void)netns::send_packet(
        peer.get(), netns::encode(netns::Answer(
                        netns::Refused{"only root and sluiced's own user may hand over agents"})));
  }
}

Result<Fd> listen_for_peers(const std::string& path) {
  // 0666 and judged by credentials: a refused peer is told so in words.
  return listen_unix(path, SOCK_SEQPACKET, 0666);
}

}  // namespace sluice::proxy
