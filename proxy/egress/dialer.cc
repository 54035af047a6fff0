#include "proxy/egress/dialer.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <memory>
#include <optional>

#include "proxy/egress/happy_eyeballs.h"

namespace sluice::proxy {
namespace {

constexpr std::string_view machine_name = "host.sluice.internal";

struct Attempt {
  IpAddress address;
  Socket socket;
  bool pending = false;
};

// What a dial shares with its attempts, whose handlers may run when the dial is over.
struct Race {
  Race(asio::io_context& io, std::size_t most) : wake(io) { attempts.reserve(most); }

  void ended(Attempt& attempt, const ErrorCode& error) noexcept {
    if (over) return;
    attempt.pending = false;
    --pending;
    if (!error) {
      if (winner == nullptr) winner = &attempt;
    } else {
      ErrorCode ignored;
      attempt.socket.close(ignored);
      failed.note(attempt.address, error);
      next_is_due = true;
    }
    wake.cancel();
  }

  void close() noexcept {
    over = true;
    ErrorCode ignored;
    for (Attempt& attempt : attempts) attempt.socket.close(ignored);
  }

  Timer wake;
  std::vector<Attempt> attempts;  // stay where they are: operations are pending on the sockets
  FailedAttempts failed;
  Attempt* winner = nullptr;
  int pending = 0;
  bool next_is_due = true;
  bool over = false;
};

// One dial to resolved addresses. When it goes, with its coroutine or before, no attempt is left.
class Dial {
 public:
  Dial(asio::io_context& io, const Dialer& guard, const DialOrder& order,
       std::vector<IpAddress> addresses)
      : io_(io),
        guard_(guard),
        order_(order),
        addresses_(std::move(addresses)),
        until_(Clock::now() + order.connect_timeout),
        race_(std::make_shared<Race>(io, std::min(addresses_.size(), most_attempts))) {}
  ~Dial() { race_->close(); }
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;

  // Until one attempt is connected, all have failed, the time is over or the caller gives up.
  Task<void> decide();
  Dialled outcome();

 private:
  bool proceed();
  void start_next();
  bool start(const IpAddress& address);
  bool may_dial(const IpAddress& address);
  bool exhausted() const noexcept {
    return next_ == addresses_.size() || race_->attempts.size() == most_attempts;
  }

  asio::io_context& io_;
  const Dialer& guard_;
  const DialOrder& order_;
  const std::vector<IpAddress> addresses_;
  const Clock::time_point until_;
  const std::shared_ptr<Race> race_;
  std::size_t next_ = 0;
  Clock::time_point next_due_;
  bool out_of_time_ = false;
  // The first refusal speaks for a name none of whose addresses may be dialled.
  std::optional<allowlists::Decision> refusal_;
  IpAddress refused_;
};

bool Dial::may_dial(const IpAddress& address) {
  const allowlists::Decision judgement = guard_.judge(order_.rules, order_.target, address);
  if (!judgement && !refusal_) {
    refusal_ = judgement;
    refused_ = address;
  }
  return bool(judgement);
}

// False: it failed at once.
bool Dial::start(const IpAddress& address) {
  Attempt& attempt = race_->attempts.emplace_back(Attempt{address, Socket(io_)});
  const TcpEndpoint to(to_asio(address), order_.target.port);
  ErrorCode error;
  attempt.socket.open(to.protocol(), error);
  if (error) {
    race_->failed.note(address, error);
    return false;
  }
  attempt.socket.async_connect(
      to, [race = race_, &attempt](const ErrorCode& ended) { race->ended(attempt, ended); });
  attempt.pending = true;
  ++race_->pending;
  return true;
}

void Dial::start_next() {
  race_->next_is_due = false;
  while (!exhausted()) {
    const IpAddress& address = addresses_[next_++];
    // Judged and dialled in one breath: exactly this address, as the kernel's routes are now.
    if (may_dial(address) && start(address)) return;
  }
}

// False: it is decided.
bool Dial::proceed() {
  if (race_->winner != nullptr) return false;
  const Clock::time_point now = Clock::now();
  out_of_time_ = now >= until_;
  if (out_of_time_) return false;
  if (!exhausted() && (race_->next_is_due || now >= next_due_)) {
    start_next();
    next_due_ = now + connection_attempt_delay;
  }
  return race_->pending > 0;
}

Task<void> Dial::decide() {
  for (;;) {
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) co_return;
    if (!proceed()) co_return;
    race_->wake.expires_at(exhausted() ? until_ : std::min(until_, next_due_));
    co_await race_->wake.async_wait();
  }
}

Dialled Dial::outcome() {
  Dialled result{.socket = Socket(io_)};
  const auto& attempts = race_->attempts;
  if (Attempt* winner = race_->winner; winner != nullptr) {
    ErrorCode ignored;
    winner->socket.set_option(Tcp::no_delay(true), ignored);
    result.socket = std::move(winner->socket);
    result.address = winner->address;
    result.connected = true;
  } else if (race_->pending > 0) {
    const auto waiting = std::find_if(attempts.begin(), attempts.end(),
                                      [](const Attempt& attempt) { return attempt.pending; });
    const ErrorCode why = out_of_time_ ? asio::error::timed_out : asio::error::operation_aborted;
    result.address = waiting->address;
    result.reason = reason_of(why);
    result.why = fmt::format("{}: {}", waiting->address.to_string(), why.message());
  } else if (!attempts.empty()) {
    result.address = race_->failed.address();
    result.reason = race_->failed.reason();
    result.why = race_->failed.sentence();
  } else if (refusal_) {
    result.address = refused_;
    result.reason = refusal_->reason;
    result.rule = refusal_->rule;
    if (order_.target.host.is_name()) {
      result.why = fmt::format("the name leads to {}", refused_.to_string());
    }
  } else {
    result.reason = Reason::connect_timeout;  // it was over before it began
  }
  return result;
}

}  // namespace

Task<Resolution> Dialer::addresses_of(const allowlists::Host& host) {
  if (!host.is_name()) co_return Resolution{{host.address()}, Reason::dns_failed};
  if (host.name() == machine_name) {
    static const IpAddress::Bytes loopback6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    co_return Resolution{{IpAddress::v4(0x7f000001), IpAddress::v6(loopback6)}, Reason::dns_failed};
  }
  co_return co_await resolver_.resolve(host.name());
}

allowlists::Decision Dialer::judge(const allowlists::AgentRules& rules,
                                   const allowlists::Target& target,
                                   const IpAddress& address) const {
  const bool own = std::any_of(own_.begin(), own_.end(), [&](const TcpEndpoint& listener) {
    if (listener.port() != target.port) return false;
    // A listener on every address is on each address of this machine.
    return listener.address().is_unspecified() ? bool(routes_.is_local(address))
                                               : from_asio(listener.address()) == address;
  });
  if (own) {
    return {.verdict = Verdict::deny, .reason = Reason::address_forbidden};
  }
  return rules.judge_address(target, address, routes_.is_local(address));
}

Task<Dialled> Dialer::dial(DialOrder order) {
  const Resolution resolution = co_await addresses_of(order.target.host);
  if (resolution.addresses.empty()) {
    Dialled unresolved{.socket = Socket(io_), .reason = resolution.failure};
    co_return unresolved;
  }
  Dial dial(io_, *this, order, in_turn(resolution.addresses));
  co_await dial.decide();
  co_return dial.outcome();
}

}  // namespace sluice::proxy
