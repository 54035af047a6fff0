// The old one's side of a take-over: offers all it has to a new sluiced, and tells what its tunnels
// still come to.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "netns/take_over.h"
#include "proxy/daemon/agents.h"
#include "proxy/daemon/budget_keeper.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/listeners.h"
#include "proxy/daemon/transfer.h"

namespace sluice::proxy {

// What a sluiced has that another one can take. Of the control thread.
struct Estate {
  using Kind = netns::OwnSocket::Kind;

  asio::io_context& io;
  Agents& agents;
  Peers& peers;
  Entrance& handover;
  std::vector<std::pair<Kind, int>> others;  // the other sockets that it listens on
  Listeners* listeners = nullptr;            // null: none
  BudgetKeeper* budgets = nullptr;           // null: none
};

// The new sluiced, while the tunnels of this one last.
class Successor {
 public:
  // `link`: non-blocking.
  Successor(std::shared_ptr<const Fd> link, Agents& agents)
      : link_(std::move(link)), agents_(agents) {}

  // Whoever connects meanwhile waits in the kernel's backlogs. Success: the estate is the other's,
  // and what is left here are tunnels. An error: all is as it was before.
  Task<Result<void>> hand_over(Estate estate);

  // To be called now and then, and with Last::yes after the last tunnel, until it is true: hears
  // and says what agents used and what their tunnels came to. False: something is still to be said.
  using Last = YesNo<struct LastTag>;
  bool exchange(Last last);

 private:
  Task<Result<void>> rest(Estate& estate);
  Task<Result<void>> offer(Estate& estate);
  Task<Result<void>> offer_peer(Estate& estate, const Peer& peer);
  Task<Result<void>> offer_lease(Estate& estate, const std::shared_ptr<Registration>& leased);
  std::vector<netns::Binding> describe(const std::shared_ptr<Registration>& registration,
                                       netns::HandedPeer& handed, std::vector<int>& fds);
  Task<Result<void>> offer_in_parts(Estate& estate, netns::HandedPeer handed,
                                    std::vector<netns::Binding> names, std::vector<int> fds);
  Task<void> go_on(Estate& estate);
  Task<bool> say(asio::io_context& io, netns::Transfer message, std::vector<int> fds);
  Task<Result<void>> until_taken(asio::io_context& io);
  void hear();
  bool tell_counts(Last last);

  std::shared_ptr<const Fd> link_;  // null: it has gone
  Agents& agents_;
  Clock::time_point until_;  // for the whole take-over
  // What the other one knows, by id; of those that are still counted here.
  std::map<std::string, std::pair<std::shared_ptr<Registration>, netns::Totals>> told_;
  Clock::time_point tell_at_{};
  SpentTeller teller_;
};

}  // namespace sluice::proxy
