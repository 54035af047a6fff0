#include "proxy/egress/race.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include "proxy/egress/happy_eyeballs.h"
#include "proxy/egress/upstream.h"
#include "proxy/egress/way_out.h"

namespace sluice::proxy {

struct Race::Attempt {
  IpAddress address;
  Socket socket;
  std::string request;  // for an upstream proxy; "": none is asked
  bool pending = false;
};

struct Race::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, std::size_t most) : wake(io) { attempts.reserve(most); }

  void ask_upstream(Attempt& attempt);
  void wait_for(Attempt& attempt);
  void take(Attempt& attempt, Connecting how);
  void connected(Attempt& attempt, const ErrorCode& error);
  void ended(Attempt& attempt, bool stands);
  void close() noexcept;

  Timer wake;
  std::vector<Attempt> attempts;  // stay where they are: operations are pending on the sockets
  FailedAttempts failed;
  Attempt* winner = nullptr;
  int pending = 0;
  bool next_is_due = true;
  bool hopeless = false;  // no further attempt is worth making
  bool over = false;
};

void Race::State::ended(Attempt& attempt, bool stands) {
  attempt.pending = false;
  --pending;
  if (stands) {
    if (winner == nullptr) winner = &attempt;
  } else {
    ErrorCode ignored;
    attempt.socket.close(ignored);
    next_is_due = true;
  }
  wake.cancel();
}

void Race::State::connected(Attempt& attempt, const ErrorCode& error) {
  if (over) return;
  if (error) {
    failed.note(attempt.address, error);
    ended(attempt, false);
  } else if (attempt.request.empty()) {
    ended(attempt, true);
  } else {
    ask_upstream(attempt);
  }
}

void Race::State::wait_for(Attempt& attempt) {
  attempt.socket.async_wait(
      Socket::wait_write, [self = shared_from_this(), &attempt](const ErrorCode& error) {
        // Once it is closed, its number may be another connection's.
        if (self->over) return;
        self->take(attempt, error ? Connecting{.error = error} : settle(attempt.socket));
      });
}

void Race::State::take(Attempt& attempt, Connecting how) {
  if (!how.unsent.empty()) {
    failed.note_unsent(attempt.address, std::move(how.unsent));
    ended(attempt, false);
  } else if (how.stands || how.error) {
    connected(attempt, how.error);
  } else {
    wait_for(attempt);
  }
}

void Race::State::ask_upstream(Attempt& attempt) {
  auto asked = ask_for_tunnel(attempt.socket, std::move(attempt.request));
  asio::co_spawn(
      wake.get_executor(), std::move(asked),
      [self = shared_from_this(), &attempt](const std::exception_ptr& thrown, TunnelAnswer answer) {
        if (self->over) return;
        const bool stands = !thrown && answer.stands;
        if (!stands) {
          self->failed.note(attempt.address, answer.reason, std::move(answer.why));
          self->hopeless = self->hopeless || answer.is_final;
        }
        self->ended(attempt, stands);
      });
}

void Race::State::close() noexcept {
  over = true;
  ErrorCode ignored;
  for (Attempt& attempt : attempts) attempt.socket.close(ignored);
}

Race::Race(asio::io_context& io, Course course, std::vector<IpAddress> addresses)
    : io_(io),
      course_(std::move(course)),
      addresses_(std::move(addresses)),
      state_(std::make_shared<State>(io, std::min(addresses_.size(), most_attempts))) {}

Race::~Race() { state_->close(); }

bool Race::exhausted() const noexcept {
  return next_ == addresses_.size() || state_->attempts.size() == most_attempts || state_->hopeless;
}

bool Race::may_dial(const IpAddress& address) {
  const allowlists::Decision judgement = course_.judge(address);
  if (!judgement && !refusal_) {
    refusal_ = judgement;
    refused_ = address;
  }
  return bool(judgement);
}

// False: it failed at once.
bool Race::start(const IpAddress& address) {
  Attempt& attempt = state_->attempts.emplace_back(Attempt{address, Socket(io_), {}});
  IpAddress to = address;
  if (course_.through) {
    to = course_.through->address;
    const std::string authority =
        course_.through->name.empty()
            ? allowlists::Target{allowlists::Host::of(address), course_.port}.to_string()
            : course_.through->name;
    attempt.request = connect_request(course_.through->upstream, authority);
    attempt.socket = std::move(course_.through->connected);
  }
  attempt.pending = true;
  ++state_->pending;
  if (attempt.socket.is_open()) {
    state_->ask_upstream(attempt);
  } else {
    connect(attempt, to);
  }
  return attempt.pending || state_->winner != nullptr;
}

void Race::connect(Attempt& attempt, const IpAddress& address) {
  const std::uint16_t port = course_.through ? course_.through->upstream.port : course_.port;
  const TcpEndpoint to(to_asio(address), port);
  state_->take(attempt, begin_to_connect(attempt.socket, to, course_.leaving));
}

void Race::start_next() {
  for (bool started = false; !started && !exhausted();) {
    const IpAddress& address = addresses_[next_++];
    // Judged and dialled in one breath: exactly this address, as the kernel's routes are now.
    started = may_dial(address) && start(address);
  }
  state_->next_is_due = false;
}

// False: it is decided.
bool Race::proceed() {
  if (state_->winner != nullptr) return false;
  const Clock::time_point now = Clock::now();
  out_of_time_ = now >= course_.until;
  if (out_of_time_) return false;
  if (!exhausted() && (state_->next_is_due || now >= next_due_)) {
    start_next();
    next_due_ = now + course_.attempt_delay;
  }
  return state_->winner == nullptr && state_->pending > 0;
}

Task<void> Race::run() {
  const WaitsFor waits(state_->wake, course_.give_up);
  for (;;) {
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none || waits.is_over()) co_return;
    if (!proceed()) co_return;
    state_->wake.expires_at(exhausted() ? course_.until : std::min(course_.until, next_due_));
    co_await state_->wake.async_wait();
  }
}

// Attempts are still under way.
Dialled Race::unfinished() const {
  const auto waiting = std::find_if(state_->attempts.begin(), state_->attempts.end(),
                                    [](const Attempt& attempt) { return attempt.pending; });
  Dialled result{.socket = Socket(io_), .address = waiting->address};
  const ErrorCode why = out_of_time_ ? asio::error::timed_out : asio::error::operation_aborted;
  result.reason = reason_of(why);
  result.why = course_.through ? "the upstream proxy did not answer in time"
                               : fmt::format("{}: {}", waiting->address.to_string(), why.message());
  return result;
}

Dialled Race::outcome() {
  Dialled result{.socket = Socket(io_)};
  if (Attempt* winner = state_->winner; winner != nullptr) {
    ErrorCode ignored;
    winner->socket.set_option(Tcp::no_delay(true), ignored);
    result.socket = std::move(winner->socket);
    result.address = winner->address;
    result.connected = true;
  } else if (state_->pending > 0) {
    return unfinished();
  } else if (!state_->attempts.empty()) {
    result.address = state_->failed.address();
    result.reason = state_->failed.reason();
    result.why = state_->failed.sentence();
  } else if (refusal_) {
    result.address = refused_;
    result.reason = refusal_->reason;
    result.rule = refusal_->rule;
  } else {
    result.reason = Reason::connect_timeout;  // it was over before it began
  }
  return result;
}

}  // namespace sluice::proxy
