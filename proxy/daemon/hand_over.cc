#include "proxy/daemon/hand_over.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "proxy/daemon/notify.h"
#include "proxy/daemon/transfer.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// Agents' connections wait so long at most.
constexpr auto longest_take_over = 15s;
// A farewell in hand lasts a second.
constexpr auto longest_rest = 3s;
constexpr auto look_every = 2ms;
constexpr auto go_on_pause = 100ms;
constexpr auto tell_every = 1s;

bool has_gone(int link) {
  pollfd state{link, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

// 0: it is in no namespace of processes that can be seen from here.
pid_t pid_of(int link) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(link, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

void announce(pid_t main) {
  if (main > 0) notify(fmt::format("MAINPID={}", main));
}

Failure not_taken(std::string why) { return fail(Errc::unavailable, std::move(why)); }

}  // namespace

Task<bool> Successor::say(asio::io_context& io, netns::Transfer message, std::vector<int> fds) {
  // Its buffer is full, or too many descriptors are on their way (unix(7), ETOOMANYREFS).
  Timer pause(io);
  for (;;) {
    if (send_transfer(link_->get(), message, fds)) co_return true;
    if (has_gone(link_->get()) || Clock::now() >= until_) co_return false;
    pause.expires_after(look_every);
    co_await pause.async_wait();
  }
}

Task<Result<void>> Successor::rest(Estate& estate) {
  estate.peers.rest();
  estate.handover.rest();
  if (estate.listeners != nullptr) estate.listeners->rest();
  if (estate.budgets != nullptr) estate.budgets->rest();
  if (auto rested = estate.agents.rest(); !rested) co_return Failure(rested.error());
  Timer pause(estate.io);
  const auto until = Clock::now() + longest_rest;
  const auto rests = [&] {
    return estate.peers.rests() && estate.agents.rests() &&
           (estate.listeners == nullptr || estate.listeners->rests()) &&
           (estate.budgets == nullptr || estate.budgets->rests());
  };
  while (!rests()) {
    if (Clock::now() >= until) co_return not_taken("it is busy");
    pause.expires_after(look_every);
    co_await pause.async_wait();
  }
  co_return Result<void>();
}

// The names that it has given out; what else there is of it goes into `handed` and `fds`.
std::vector<netns::Binding> Successor::describe(const std::shared_ptr<Registration>& registration,
                                                netns::HandedPeer& handed, std::vector<int>& fds) {
  handed.agent = registration->agent->name;
  for (const netns::RoleSocket& socket : registration->resting) {
    handed.sockets.push_back(socket.role);
    fds.push_back(socket.fd.get());
  }
  auto names = registration->agent->names.freeze();
  handed.counted = registration->counted();
  told_.emplace(registration->id(), std::pair(registration, handed.counted));
  return names;
}

// What is more than one message carries comes before it.
Task<Result<void>> Successor::offer_in_parts(Estate& estate, netns::HandedPeer handed,
                                             std::vector<netns::Binding> names,
                                             std::vector<int> fds) {
  std::vector<std::pair<netns::Transfer, std::vector<int>>> messages;
  for (std::size_t at = 0; at < names.size(); at += netns::max_names_per_message) {
    const std::size_t end = std::min(at + netns::max_names_per_message, names.size());
    messages.emplace_back(netns::Names{{names.begin() + static_cast<std::ptrdiff_t>(at),
                                        names.begin() + static_cast<std::ptrdiff_t>(end)}},
                          std::vector<int>());
  }
  while (fds.size() > netns::max_sockets_per_message) {
    const auto most = static_cast<std::ptrdiff_t>(netns::max_sockets_per_message);
    messages.emplace_back(netns::Sockets{{handed.sockets.end() - most, handed.sockets.end()}},
                          std::vector<int>(fds.end() - most, fds.end()));
    handed.sockets.erase(handed.sockets.end() - most, handed.sockets.end());
    fds.erase(fds.end() - most, fds.end());
  }
  messages.emplace_back(std::move(handed), std::move(fds));
  for (auto& [message, its_fds] : messages) {
    const bool said = co_await say(estate.io, std::move(message), std::move(its_fds));
    if (!said) co_return not_taken("the new sluiced has gone");
  }
  co_return Result<void>();
}

Task<Result<void>> Successor::offer_peer(Estate& estate, const Peer& peer) {
  netns::HandedPeer handed;
  handed.asked_ports = peer.asked_ports();
  const auto subject = peer.subject();
  if (subject && subject != peer.registration) handed.leased = subject->agent->name;
  std::vector<int> fds{peer.socket->get()};
  std::vector<netns::Binding> names = peer.names;
  if (peer.registration && estate.agents.is_live(*peer.registration)) {
    names = describe(peer.registration, handed, fds);
  }
  co_return co_await offer_in_parts(estate, std::move(handed), std::move(names), std::move(fds));
}

Task<Result<void>> Successor::offer_lease(Estate& estate,
                                          const std::shared_ptr<Registration>& leased) {
  netns::HandedPeer handed;
  handed.holder = leased->holder;
  std::vector<int> fds;
  auto names = describe(leased, handed, fds);
  co_return co_await offer_in_parts(estate, std::move(handed), std::move(names), std::move(fds));
}

Task<Result<void>> Successor::offer(Estate& estate) {
  std::vector<std::pair<Estate::Kind, int>> sockets = estate.others;
  sockets.emplace_back(Estate::Kind::handover, estate.handover.fd());
  if (estate.listeners != nullptr) {
    for (const int fd : estate.listeners->sockets()) {
      sockets.emplace_back(Estate::Kind::listen, fd);
    }
  }
  std::vector<std::pair<netns::Transfer, std::vector<int>>> messages;
  messages.reserve(sockets.size());
  for (const auto& [kind, fd] : sockets) {
    messages.emplace_back(netns::OwnSocket{kind}, std::vector<int>{fd});
  }
  // First: what is used between the two is told twice, not never.
  estate.agents.allowances().tell_all();
  const std::string budgets = estate.agents.allowances().save(Allowance::Utc::now());
  for (const std::string& lines : in_pieces(budgets)) {
    messages.emplace_back(netns::Budgets{lines}, std::vector<int>());
  }
  for (auto& [message, fds] : messages) {
    const bool said = co_await say(estate.io, std::move(message), std::move(fds));
    if (!said) co_return not_taken("the new sluiced has gone");
  }
  for (const auto& peer : estate.peers.resting()) {
    auto offered = co_await offer_peer(estate, *peer);
    if (!offered) co_return offered;
  }
  for (const auto& [name, leased] : estate.peers.leases()) {
    auto offered = co_await offer_lease(estate, leased);
    if (!offered) co_return offered;
  }
  netns::Transfer complete(
      netns::Complete{estate.peers.resting().size() + estate.peers.leases().size()});
  const bool said = co_await say(estate.io, std::move(complete), {});
  if (!said) co_return not_taken("the new sluiced has gone");
  co_return Result<void>();
}

Task<Result<void>> Successor::until_taken(asio::io_context& io) {
  Timer pause(io);
  for (;;) {
    const Received received = receive_transfer(link_->get());
    if (received.gone) co_return not_taken("the new sluiced has gone");
    if (received.message) {
      if (std::holds_alternative<netns::Taken>(*received.message)) co_return Result<void>();
      co_return not_taken("the new sluiced spoke out of turn");
    }
    if (Clock::now() >= until_) co_return not_taken("the new sluiced took too long");
    pause.expires_after(look_every);
    co_await pause.async_wait();
  }
}

Task<void> Successor::go_on(Estate& estate) {
  told_.clear();
  Timer pause(estate.io);
  for (;;) {
    auto served = estate.agents.go_on();
    if (served && estate.listeners != nullptr) served = estate.listeners->serve();
    if (served) break;
    log::error("{}", without_kind(served.error()));
    pause.expires_after(go_on_pause);
    co_await pause.async_wait();
  }
  estate.handover.go_on();
  estate.peers.go_on();
  while (estate.budgets != nullptr && !estate.budgets->rests()) {
    pause.expires_after(go_on_pause);
    co_await pause.async_wait();
  }
  if (estate.budgets != nullptr) estate.budgets->go_on();
}

Task<Result<void>> Successor::hand_over(Estate estate) {
  until_ = Clock::now() + longest_take_over;
  auto done = co_await rest(estate);
  if (done) done = co_await offer(estate);
  if (done) done = co_await until_taken(estate.io);
  if (done) {
    // First: the service manager takes READY=1 of the main process only.
    announce(pid_of(link_->get()));
    if (!send_transfer(link_->get(), netns::Yours{})) {
      announce(::getpid());
      done = not_taken("the new sluiced has gone");
    }
  }
  if (!done) {
    (void)send_transfer(link_->get(), netns::Refused{done.error().what});
    co_await go_on(estate);
  }
  co_return done;
}

void Successor::hear() {
  while (link_) {
    const Received received = receive_transfer(link_->get());
    if (received.gone) link_.reset();
    if (!received.message) return;
    if (const auto* spent = std::get_if<netns::Spent>(&*received.message)) {
      (void)agents_.allowances().add(spent->lines, Allowance::Utc::now());
    } else if (const auto* ended = std::get_if<netns::Ended>(&*received.message)) {
      const auto found = told_.find(ended->agent_id);
      if (found != told_.end()) agents_.break_off(found->second.first->agent);
    }
  }
}

// What its buffer has no room for is said the next time.
bool Successor::tell_counts(Last last) {
  const bool is_time = last == Last::yes || Clock::now() >= tell_at_;
  for (auto one = told_.begin(); link_ && one != told_.end();) {
    auto& [registration, told] = one->second;
    const bool is_last = last == Last::yes || registration->agent->sessions == 0;
    if (!is_last && !is_time) {
      ++one;
      continue;
    }
    netns::Totals now = registration->counted();
    if (is_last || now.bytes_up != told.bytes_up || now.bytes_down != told.bytes_down) {
      netns::Counted counted{one->first, netns::difference(now, told), is_last};
      if (!send_transfer(link_->get(), std::move(counted))) return false;
      told = std::move(now);
    }
    one = is_last ? told_.erase(one) : std::next(one);
  }
  return true;
}

bool Successor::exchange(Last last) {
  hear();
  if (!link_) return true;
  const bool counted = tell_counts(last);
  if (last == Last::no && Clock::now() < tell_at_) return counted;
  tell_at_ = Clock::now() + tell_every;
  return teller_.tell(link_->get(), agents_.allowances().take_untold(Allowance::Utc::now())) &&
         counted;
}

}  // namespace sluice::proxy
