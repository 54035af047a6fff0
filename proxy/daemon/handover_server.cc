#include "proxy/daemon/handover_server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "netns/take_over.h"
#include "proxy/daemon/spawn.h"
#include "proxy/daemon/unix_socket.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// Broken-off sessions write their last audit lines within this time; totals wait for them.
constexpr auto longest_farewell = 1s;
// All names of an agent are 82 messages: they pass at once.
constexpr Clock::duration message_step = 10ms;
constexpr int messages_at_once = 256;

// Nobody could be told who it is: treated like a stranger.
constexpr uid_t nobody = static_cast<uid_t>(-1);

uid_t uid_of(int socket) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return nobody;
  return peer.uid;
}

bool may_hand_over(uid_t uid) noexcept { return uid == 0 || uid == ::geteuid(); }

}  // namespace

// -- Peer
// ---------------------------------------------------------------------------------------------

Peer::Peer(Agents& agents, std::shared_ptr<const Fd> connection)
    : socket(std::move(connection)), uid(uid_of(socket->get())), agents_(agents) {}

Peer::~Peer() {
  if (registration) agents_.remove(*registration);
}

bool Peer::say(const netns::Answer& answer) {
  return netns::send_packet(socket->get(), netns::encode(answer)).has_value();
}

bool Peer::refuse(const Error& error) {
  const std::string text =
      error.hint.empty() ? error.what : fmt::format("{} ({})", error.what, error.hint);
  log::warning("a registration was refused: {}", text);
  return say(netns::Refused{text});
}

Clock::time_point Peer::next_message(Clock::time_point now) noexcept {
  messages_due_ = std::max(messages_due_, now - messages_at_once * message_step) + message_step;
  return messages_due_;
}

// -- Peers
// --------------------------------------------------------------------------------------------

// What a conversation can be woken from.
class Peers::Talk {
 public:
  Talk(Peers& peers, const Peer& peer)
      : watched(peers.io_, peer.socket->get()), pause(peers.io_), peers_(peers), peer_(&peer) {
    peers_.talking_.emplace(peer_, this);
  }
  ~Talk() { peers_.talking_.erase(peer_); }
  Talk(const Talk&) = delete;
  Talk& operator=(const Talk&) = delete;

  Watched watched;
  Timer pause;

 private:
  Peers& peers_;
  const Peer* peer_;
};

Peers::Peers(asio::io_context& io, Agents& agents, Limits limits)
    : io_(io), agents_(agents), limits_(limits) {}

bool Peers::enroll(Peer& peer, netns::Register request, std::vector<Fd> fds) {
  if (peer.registration)
    return peer.refuse({Errc::bad_config, "this connection has a registration", "", {}});
  if (fds.size() != request.sockets.size()) {
    return peer.refuse({Errc::bad_config, "not as many descriptors as sockets are named", "", {}});
  }
  if (!may_register(peer.uid)) {
    return peer.refuse({Errc::unavailable,
                        fmt::format("user {} has {} agents here, and may have no more", peer.uid,
                                    limits_.agents_per_uid),
                        "end some first",
                        {}});
  }
  Agents::Application application{.name = std::move(request.agent), .peer = peer.socket};
  for (std::size_t i = 0; i < fds.size(); ++i) {
    application.sockets.push_back({request.sockets[i], std::move(fds[i])});
  }
  application.names = std::exchange(peer.names, {});
  std::move(request.names.begin(), request.names.end(), std::back_inserter(application.names));
  auto registration = agents_.add(std::move(application));
  if (!registration) return peer.refuse(registration.error());
  peer.registration = std::move(*registration);
  agents_.serve(*peer.registration);
  return peer.say(netns::Registered{peer.registration->id()});
}

Task<bool> Peers::dismiss(Peer& peer) {
  if (!peer.registration) {
    const Error error{Errc::bad_config, "nothing is registered", "", {}};
    co_return peer.refuse(error);
  }
  const auto registration = std::exchange(peer.registration, nullptr);
  agents_.remove(*registration);
  Timer pause(io_);
  const Clock::time_point until = Clock::now() + longest_farewell;
  for (bool ended = false; !ended && Clock::now() < until;) {
    const bool awaited = awaits_ && awaits_(*registration);
    pause.expires_after(2ms);
    co_await pause.async_wait();
    ended = !awaited && registration->agent->sessions == 0;
  }
  const netns::Answer totals(registration->counted());
  co_return peer.say(totals);
}

bool Peers::take_over(Peer& peer, netns::TakeOver request) {
  if (!take_over_ || peer.registration || !may_hand_over(peer.uid)) {
    return peer.refuse({Errc::not_permitted, "nothing can be taken over here", "", {}});
  }
  if (request.format != netns::take_over_format) {
    return peer.refuse({Errc::unavailable,
                        "the new sluiced speaks another form of the take-over than the old one",
                        "stop the old one, then start the new one",
                        {}});
  }
  take_over_(peer.socket);
  return false;
}

Task<bool> Peers::hear(Peer& peer, netns::Packet packet) {
  auto request = netns::decode_request(packet.bytes);
  if (!request) {
    peer.refuse(request.error());
    co_return false;
  }
  if (auto* more = std::get_if<netns::Names>(&*request)) {
    if (peer.registration || peer.names.size() + more->names.size() > SyntheticNames::max_names) {
      const Error error{
          Errc::bad_config, "names come before the registration, and at most 16384", "", {}};
      co_return peer.refuse(error);
    }
    std::move(more->names.begin(), more->names.end(), std::back_inserter(peer.names));
    const netns::Answer accepted(netns::Accepted{});
    co_return peer.say(accepted);
  }
  if (auto* enrolled = std::get_if<netns::Register>(&*request)) {
    co_return enroll(peer, std::move(*enrolled), std::move(packet.fds));
  }
  if (const auto* wanted = std::get_if<netns::TakeOver>(&*request)) {
    co_return take_over(peer, *wanted);
  }
  co_return co_await dismiss(peer);
}

Task<Peers::End> Peers::talk(Peer& peer, Talk& talk) {
  for (;;) {
    if (resting_now_) co_return End::rests;
    const bool readable = co_await talk.watched.readable();
    if (resting_now_) continue;
    if (!readable) co_return End::over;
    auto packet = netns::receive_packet(peer.socket->get());
    if (!packet) {
      log::warning("a handover connection broke: {}", packet.error().what);
      co_return End::over;
    }
    if (!*packet) continue;
    if ((*packet)->closed) co_return End::over;
    const bool goes_on = co_await hear(peer, std::move(**packet));
    if (!goes_on) co_return End::over;
    const auto now = Clock::now();
    const auto due = peer.next_message(now);
    if (due <= now) continue;
    talk.pause.expires_at(due);
    co_await talk.pause.async_wait();
  }
}

void Peers::begin(std::unique_ptr<Peer> peer) {
  ++beginning_;
  spawn(io_, converse(std::move(peer)));
}

Task<void> Peers::converse(std::unique_ptr<Peer> peer) {
  --beginning_;
  auto end = End::over;
  {
    Talk its_talk(*this, *peer);
    if (its_talk.watched.error()) {
      log::error("cannot watch a handover connection: {}", its_talk.watched.error().message());
    } else {
      end = co_await talk(*peer, its_talk);
    }
  }
  if (end == End::rests) {
    resting_.push_back(std::move(peer));
  } else if (peer->registration && awaits_) {
    (void)awaits_(*peer->registration);
  }
}

Task<void> Peers::serve(Fd socket) {
  ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  auto peer = std::make_unique<Peer>(agents_, std::make_shared<const Fd>(std::move(socket)));
  ++beginning_;
  co_await converse(std::move(peer));
}

bool Peers::is_full(uid_t uid) const noexcept {
  const auto is_theirs = [uid](const auto& one) { return one.first->uid == uid; };
  return static_cast<std::size_t>(std::count_if(talking_.begin(), talking_.end(), is_theirs)) >=
         limits_.connections_per_uid;
}

bool Peers::may_register(uid_t uid) const noexcept {
  const auto is_theirs = [uid](const auto& one) {
    return one.first->uid == uid && one.first->registration != nullptr;
  };
  return static_cast<std::size_t>(std::count_if(talking_.begin(), talking_.end(), is_theirs)) <
         limits_.agents_per_uid;
}

void Peers::admit(Fd socket) {
  auto peer = std::make_unique<Peer>(agents_, std::make_shared<const Fd>(std::move(socket)));
  if (!may_hand_over(peer->uid)) {
    log::warning("a peer that is neither root nor sluiced's user was turned away");
    (void)peer->say(netns::Refused{"only root and sluiced's own user may hand over agents"});
  } else if (is_full(peer->uid)) {
    log::warning("user {} has {} handover connections: one more was turned away", peer->uid,
                 limits_.connections_per_uid);
    (void)peer->say(netns::Refused{"this user has as many handover connections as it may"});
  } else {
    begin(std::move(peer));
  }
}

Task<void> Peers::accept(Entrance& entrance) {
  Entrance::Guests guests;
  guests.have_room = [] { return true; };
  guests.take = [this](Fd guest) { admit(std::move(guest)); };
  co_await entrance.serve(std::move(guests));
}

void Peers::rest() noexcept {
  resting_now_ = true;
  for (const auto& [peer, talk] : talking_) {
    talk->watched.cancel();
    talk->pause.cancel();
  }
}

void Peers::go_on() {
  resting_now_ = false;
  while (!resting_.empty()) {
    auto peer = std::move(resting_.front());
    resting_.pop_front();
    begin(std::move(peer));
  }
}

void Peers::leave_to_another() noexcept {
  for (const auto& peer : resting_) peer->let_go();
  resting_.clear();
}

Result<Fd> listen_for_peers(const std::string& path) {
  // 0666 and judged by credentials: a refused peer is told so in words.
  return listen_unix(path, SOCK_SEQPACKET, 0666);
}

}  // namespace sluice::proxy
