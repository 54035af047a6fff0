// Speaks the handover protocol with supervisors: registers their agents, and ends them with the
// connection.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "proxy/daemon/agents.h"
#include "proxy/daemon/entrance.h"

namespace sluice::proxy {

// One supervisor: its connection, and what it registered.
class Peer {
 public:
  Peer(Agents& agents, std::shared_ptr<const Fd> socket);
  // Ends the registration, unless it has been let go of.
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  bool say(const netns::Answer& answer);
  bool refuse(const Error& error);
  // The registration is another sluiced's from here on.
  void let_go() noexcept { registration.reset(); }
  // The next message of this peer is due then; whoever sends more than messages_per_second waits.
  Clock::time_point next_message(Clock::time_point now) noexcept;

  const std::shared_ptr<const Fd> socket;
  const uid_t uid;                             // SO_PEERCRED: of whoever connected (unix(7))
  std::vector<netns::Binding> names;           // for a registration to come
  std::shared_ptr<Registration> registration;  // null: none yet

 private:
  Agents& agents_;
  Clock::time_point messages_due_{};
};

// All supervisors of a sluiced. Of the control thread.
class Peers {
 public:
  struct Limits {
    std::size_t connections_per_uid = 2048;
    std::size_t agents_per_uid = 1024;
  };
  // Someone wants to take over; none: nobody may.
  using TakeOver = std::function<void(std::shared_ptr<const Fd> connection)>;
  // Waited for before the totals of a registration are told: what another sluiced counts of it.
  using Awaits = std::function<bool(const Registration&)>;

  Peers(asio::io_context& io, Agents& agents, Limits limits);
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  void on_take_over(TakeOver take_over) { take_over_ = std::move(take_over); }
  void on_farewell(Awaits awaits) { awaits_ = std::move(awaits); }

  // Serves one connected peer until it closes or breaks the protocol.
  Task<void> serve(Fd socket);
  // Serves whoever connects; only root and sluiced's own user may hand over (SO_PEERCRED, unix(7)).
  Task<void> accept(Entrance& entrance);

  // Hears nobody any more: what peers say waits in their sockets. In force once rests() holds,
  // after what is being answered.
  void rest() noexcept;
  bool rests() const noexcept { return talking_.empty() && beginning_ == 0; }
  const std::list<std::unique_ptr<Peer>>& resting() const noexcept { return resting_; }
  void go_on();
  // Lets go of all that rest; another sluiced hears them.
  void leave_to_another() noexcept;
  // A peer of the sluiced before this one, heard after go_on().
  void adopt(std::unique_ptr<Peer> peer) { resting_.push_back(std::move(peer)); }

 private:
  class Talk;  // a peer's place in talking_
  enum class End : std::uint8_t { over, rests };

  void begin(std::unique_ptr<Peer> peer);
  Task<void> converse(std::unique_ptr<Peer> peer);
  Task<End> talk(Peer& peer, Talk& talk);
  Task<bool> hear(Peer& peer, netns::Packet packet);
  bool enroll(Peer& peer, netns::Register request, std::vector<Fd> fds);
  Task<bool> dismiss(Peer& peer);
  bool take_over(Peer& peer, netns::TakeOver request);
  void admit(Fd socket);
  bool is_full(uid_t uid) const noexcept;
  bool may_register(uid_t uid) const noexcept;

  asio::io_context& io_;
  Agents& agents_;
  const Limits limits_;
  TakeOver take_over_;
  Awaits awaits_;
  bool resting_now_ = false;
  int beginning_ = 0;  // conversations whose first step is still to come
  std::unordered_map<const Peer*, Talk*> talking_;
  std::list<std::unique_ptr<Peer>> resting_;
};

// A listening handover socket at `path`. A dead one is replaced; a live one is an error.
Result<Fd> listen_for_peers(const std::string& path);

}  // namespace sluice::proxy
