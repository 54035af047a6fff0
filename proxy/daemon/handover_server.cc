#include "proxy/daemon/handover_server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/daemon/rare_log.h"
#include "proxy/daemon/spawn.h"
#include "proxy/daemon/unix_socket.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// Any local user can connect.
RareLog turned_away{1s};

// Whoever has spoken already would hear of a reset before it hears the answer: unix(7) resets a
// connection that is closed with something unread.
void say_and_part(Peer& peer, const std::string& why) {
  ::shutdown(peer.socket->get(), SHUT_RD);
  for (;;) {
    const auto unread = netns::receive_packet(peer.socket->get());
    if (!unread || !*unread || (*unread)->closed) break;
  }
  (void)peer.say(netns::Refused{why});
}

}  // namespace

// What a conversation can be woken from.
class Peers::Talk {
 public:
  Talk(Peers& peers, Peer& peer)
      : watched(peers.io_, peer.socket->get()), pause(peers.io_), peers_(peers), peer_(&peer) {
    peers_.talking_.emplace(peer_, this);
    ++peers_.connections_[peer_->uid];
  }
  ~Talk() {
    peers_.talking_.erase(peer_);
    const auto count = peers_.connections_.find(peer_->uid);
    if (--count->second == 0) peers_.connections_.erase(count);
  }
  Talk(const Talk&) = delete;
  Talk& operator=(const Talk&) = delete;

  Watched watched;
  Timer pause;

 private:
  Peers& peers_;
  Peer* peer_;
};

Peers::Peers(asio::io_context& io, Agents& agents, Limits limits, PeerAccess access)
    : io_(io), agents_(agents), limits_(limits), access_(std::move(access)) {}

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
  // It started this process, as whomever: it counts as its user.
  auto peer = std::make_unique<Peer>(agents_, std::make_shared<const Fd>(std::move(socket)),
                                     ::geteuid(), Grant{"*"});
  ++beginning_;
  co_await converse(std::move(peer));
}

std::unique_ptr<Peer> Peers::known(Fd socket) const {
  const Credentials credentials = credentials_of(socket.get());
  return std::make_unique<Peer>(agents_, std::make_shared<const Fd>(std::move(socket)),
                                credentials.uid, access_.names_for(credentials));
}

bool Peers::is_full(uid_t uid) const noexcept {
  const auto count = connections_.find(uid);
  return count != connections_.end() && count->second >= limits_.connections_per_uid;
}

void Peers::admit(Fd socket) {
  auto peer = known(std::move(socket));
  if (peer->grant.empty() && !may_take_over(peer->uid)) {
    const std::string why = access_.refusal(peer->uid);
    turned_away.warn(fmt::format("a peer was turned away: {}", why));
    say_and_part(*peer, why);
  } else if (is_full(peer->uid)) {
    turned_away.warn(fmt::format("user {} has {} handover connections: one more was turned away",
                                 peer->uid, limits_.connections_per_uid));
    say_and_part(*peer, "this user has as many handover connections as it may");
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
    (void)peer->tell_ports();
    begin(std::move(peer));
  }
}

void Peers::policy_changed() {
  for (const auto& [peer, talk] : talking_) (void)peer->tell_ports();
  for (const auto& peer : resting_) (void)peer->tell_ports();
}

void Peers::adopt(std::shared_ptr<Registration> leased) {
  leases_.emplace(leased->agent->name, std::move(leased));
}

void Peers::leave_to_another() noexcept {
  for (const auto& peer : resting_) peer->let_go();
  resting_.clear();
  leases_.clear();
}

Result<Fd> listen_for_peers(const std::string& path) {
  // 0666 and judged by credentials: a refused peer is told so in words.
  return listen_unix(path, SOCK_SEQPACKET, 0666);
}

}  // namespace sluice::proxy
