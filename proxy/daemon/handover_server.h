// Speaks the handover protocol with supervisors: registers their agents, and ends them with the
// connection, or when an explicit lease is ended.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/daemon/entrance.h"
#include "proxy/daemon/peer.h"

namespace sluice::proxy {

// All supervisors of a sluiced. Of the control thread.
class Peers {
 public:
  struct Limits {
    std::size_t connections_per_uid = 2048;
    std::size_t agents_per_uid = 1024;
    // `port` listeners; each costs a descriptor in every thread.
    std::size_t ports_per_uid = 8192;
  };
  // Someone wants to take over; none: nobody may.
  using TakeOver = std::function<void(std::shared_ptr<const Fd> connection)>;
  // Waited for before the totals of a registration are told: what another sluiced counts of it.
  using Awaits = std::function<bool(const Registration&)>;

  Peers(asio::io_context& io, Agents& agents, Limits limits, PeerAccess access = PeerAccess());
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  void on_take_over(TakeOver take_over) { take_over_ = std::move(take_over); }
  void on_farewell(Awaits awaits) { awaits_ = std::move(awaits); }

  // Serves one connected peer, who may take any name, until it closes or breaks the protocol.
  Task<void> serve(Fd socket);
  // Serves whoever connects and may hand over.
  Task<void> accept(Entrance& entrance);
  // Peers who asked for ports hear of those that have changed.
  void policy_changed();

  // What explicit leases hold, by the agent's name.
  using Leases = std::map<std::string, std::shared_ptr<Registration>>;
  const Leases& leases() const noexcept { return leases_; }

  // Hears nobody any more: what peers say waits in their sockets. In force once rests() holds,
  // after what is being answered.
  void rest() noexcept;
  bool rests() const noexcept { return talking_.empty() && beginning_ == 0; }
  const std::list<std::unique_ptr<Peer>>& resting() const noexcept { return resting_; }
  void go_on();
  // Lets go of all that rest; another sluiced hears them.
  void leave_to_another() noexcept;
  // A peer of the sluiced before this one, heard after go_on(); and an explicit lease of it.
  std::unique_ptr<Peer> known(Fd socket) const;
  void adopt(std::unique_ptr<Peer> peer) { resting_.push_back(std::move(peer)); }
  void adopt(std::shared_ptr<Registration> leased);
  // After the last thread has stopped and before its io_context goes, on which listeners depend.
  void end() noexcept { leases_.clear(); }

 private:
  class Talk;  // a peer's place in talking_
  enum class End : std::uint8_t { over, rests };

  void begin(std::unique_ptr<Peer> peer);
  Task<void> converse(std::unique_ptr<Peer> peer);
  Task<End> talk(Peer& peer, Talk& talk);
  void admit(Fd socket);
  bool is_full(uid_t uid) const noexcept;

  // What peers ask. False: the conversation is over.
  Task<bool> hear(Peer& peer, netns::Packet packet);
  bool keep_names(Peer& peer, netns::Names more);
  bool enroll(Peer& peer, netns::Register request, std::vector<Fd> fds);
  bool renew(Peer& peer, const std::shared_ptr<Registration>& held,
             const std::vector<netns::RoleSocket>& sockets);
  bool add_ports(Peer& peer, const netns::Add& request, std::vector<Fd> fds);
  bool ask_ports(Peer& peer, netns::AskPorts request);
  bool tell_sandbox(Peer& peer, const netns::AskSandbox& request);
  netns::Registered answer_of(const Registration& registration) const;
  void heed(const Peer& peer, const netns::Event& event);
  Task<bool> dismiss(Peer& peer, netns::Unregister request);
  bool take_over(Peer& peer, netns::TakeOver request);
  Result<std::shared_ptr<Registration>> ended_by(Peer& peer, const netns::Unregister& request);
  Result<void> may_register(const Peer& peer, const std::string& agent) const;
  Result<void> may_open_ports(const Peer& peer, std::size_t more) const;
  // The explicit lease that a peer may speak for; cookie 0: for whichever namespace.
  Leases::iterator lease_of(const Peer& peer, const std::string& agent, std::uint64_t netns_cookie);

  asio::io_context& io_;
  Agents& agents_;
  const Limits limits_;
  const PeerAccess access_;
  TakeOver take_over_;
  Awaits awaits_;
  bool resting_now_ = false;
  int beginning_ = 0;  // conversations whose first step is still to come
  std::unordered_map<Peer*, Talk*> talking_;
  std::unordered_map<uid_t, std::size_t> connections_;  // of talking_; none is 0
  std::list<std::unique_ptr<Peer>> resting_;
  Leases leases_;
};

// A listening handover socket at `path`. A dead one is replaced; a live one is an error.
Result<Fd> listen_for_peers(const std::string& path);

}  // namespace sluice::proxy
