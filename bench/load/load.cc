#include "bench/load/load.h"

#include <algorithm>

#include "bench/load/wire.h"

namespace sluice::bench {
namespace {

constexpr auto longest_wait = std::chrono::milliseconds(20);
constexpr auto finish_limit = std::chrono::seconds(10);

}  // namespace

std::vector<sockaddr_in> destinations(const Options& options, const sockaddr_in& proxy) {
  std::vector<sockaddr_in> all(options.hosts, proxy);
  if (options.via != Via::direct) return all;
  for (unsigned i = 0; i < options.hosts; ++i) {
    all[i].sin_family = AF_INET;
    all[i].sin_port = htons(options.origin_port);
    all[i].sin_addr = host_address(i);
  }
  return all;
}

Load::Load(const Loop& loop, Plan plan) : loop_(loop), plan_(std::move(plan)) {
  for (unsigned i = 0; i < plan_.concurrency; ++i) {
    visits_.push_back(std::make_unique<Visit>(loop, *this, i));
    idle_.push_back(visits_.back().get());
  }
  next_due_ = Clock::now();
}

// xorshift64 (Marsaglia 2003)
unsigned Load::next_host(const Visit& visit) noexcept {
  if (plan_.after == Plan::After::keep) {
    return visit.place % static_cast<unsigned>(plan_.scripts.size());
  }
  random_ ^= random_ << 13U;
  random_ ^= random_ >> 7U;
  random_ ^= random_ << 17U;
  return static_cast<unsigned>(random_ % plan_.scripts.size());
}

void Load::begin(Visit& visit, Clock::time_point due) {
  const unsigned host = next_host(visit);
  visit.begin(plan_.scripts[host], plan_.to[host], due);
}

void Load::begin_what_is_due(Clock::time_point now) {
  if (plan_.rate <= 0) {
    // An ended visit is begun here, not in ended(): the loop must come by between two.
    for (std::size_t count = idle_.size(); count > 0 && !idle_.empty(); --count) {
      Visit* visit = idle_.back();
      idle_.pop_back();
      begin(*visit, now);
    }
    return;
  }
  while (next_due_ <= now && !idle_.empty()) {
    Visit* visit = idle_.back();
    idle_.pop_back();
    begin(*visit, next_due_);
    next_due_ += seconds_of(1 / plan_.rate);
  }
}

Tally Load::measure(Clock::time_point until, const Enough& enough) {
  tally_ = Tally();
  measure_began_ = Clock::now();
  while (Clock::now() < until && !(enough && enough())) {
    const Clock::time_point now = Clock::now();
    begin_what_is_due(now);
    Clock::time_point wake = std::min(until, now + longest_wait);
    if (plan_.rate > 0 && !idle_.empty()) wake = std::min(wake, next_due_);
    loop_.run_once(wake);
  }
  tally_.seconds = std::chrono::duration<double>(Clock::now() - measure_began_).count();
  return tally_;
}

Tally Load::finish() {
  tally_ = Tally();
  const Clock::time_point limit = Clock::now() + finish_limit;
  while (idle_.size() < visits_.size() && Clock::now() < limit) {
    loop_.run_once(Clock::now() + longest_wait);
  }
  if (const std::uint64_t late = visits_.size() - idle_.size(); late > 0) {
    tally_.errors += late;
    tally_.first_error = "no answer in ten seconds";
  }
  for (const auto& visit : visits_) visit->close();
  return tally_;
}

std::uint64_t Load::reconnects() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& visit : visits_) sum += visit->reconnects();
  return sum;
}

void Load::ended(Visit& visit, const std::string& wrong) {
  if (plan_.after == Plan::After::close) visit.close();
  idle_.push_back(&visit);
  if (!wrong.empty()) {
    ++tally_.errors;
    if (tally_.first_error.empty()) tally_.first_error = wrong;
    return;
  }
  ++answered_;
  ++tally_.operations;
  if (visit.due() >= measure_began_) tally_.latency.add(Clock::now() - visit.due());
}

}  // namespace sluice::bench
