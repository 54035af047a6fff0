#include "bench/load/tunnels.h"

#include <algorithm>

namespace sluice::bench {
namespace {

constexpr auto patience = std::chrono::seconds(1);

}  // namespace

Tunnels::Tunnels(const Loop& loop, Plan plan, unsigned count)
    : loop_(loop), plan_(std::move(plan)) {
  for (unsigned i = 0; i < count; ++i) visits_.push_back(std::make_unique<Visit>(loop, *this, i));
}

template <class Begin>
void Tunnels::run(const std::vector<Visit*>& visits, Clock::time_point until, const Begin& begin) {
  auto next = visits.begin();
  while ((next != visits.end() || under_way_ > 0) && Clock::now() < until) {
    while (next != visits.end() && under_way_ < plan_.concurrency) {
      ++under_way_;
      begin(**next++);
    }
    loop_.run_once(std::min(until, Clock::now() + std::chrono::milliseconds(20)));
  }
  const std::uint64_t late = under_way_ + static_cast<std::uint64_t>(visits.end() - next);
  if (late > 0) {
    counts_.errors += late;
    counts_.first_error = "not all were answered in time";
  }
}

const Tunnels::Counts& Tunnels::open(Clock::time_point until) {
  std::vector<Visit*> visits;
  visits.reserve(visits_.size());
  for (const auto& visit : visits_) visits.push_back(visit.get());
  run(visits, until, [this](Visit& visit) { begin(visit); });
  return counts_;
}

void Tunnels::begin(Visit& visit) {
  const std::size_t host = visit.place % plan_.scripts.size();
  visit.begin(plan_.scripts[host], plan_.to[host], Clock::now());
}

const Tunnels::Counts& Tunnels::press(Clock::time_point until) {
  auto next = visits_.begin();
  std::size_t at_once = plan_.concurrency;
  last_end_ = Clock::now();
  while ((next != visits_.end() || under_way_ > 0) && Clock::now() < until) {
    while (next != visits_.end() && under_way_ < at_once) {
      ++under_way_;
      begin(**next++);
    }
    loop_.run_once(Clock::now() + std::chrono::milliseconds(20));
    if (Clock::now() - last_end_ < patience) continue;
    if (next == visits_.end()) break;
    at_once = visits_.size();
    last_end_ = Clock::now();
  }
  counts_.waiting = under_way_ + static_cast<std::uint64_t>(visits_.end() - next);
  return counts_;
}

Tunnels::Counts Tunnels::try_again(const Script& script, Clock::time_point until) {
  const std::uint64_t were_open = counts_.open;
  std::vector<Visit*> visits;
  for (const auto& visit : visits_) {
    if (visit->is_open() && !visit->is_busy()) visits.push_back(visit.get());
  }
  counts_ = Counts();
  under_way_ = 0;
  run(visits, until, [&](Visit& visit) { visit.begin(script, plan_.to.front(), Clock::now()); });
  std::uint64_t reconnects = 0;
  for (const auto& visit : visits_) reconnects += visit->reconnects();
  if (const std::uint64_t lost = were_open - visits.size() + reconnects; lost > 0) {
    counts_.errors += lost;
    counts_.first_error = "a tunnel that was held has closed";
  }
  return counts_;
}

void Tunnels::ended(Visit& visit, const std::string& wrong) {
  last_end_ = Clock::now();
  if (under_way_ > 0) --under_way_;
  if (wrong.empty()) {
    ++counts_.open;
  } else if (visit.status() >= 400) {
    ++counts_.refused;
  } else {
    ++counts_.errors;
    if (counts_.first_error.empty()) counts_.first_error = wrong;
  }
}

}  // namespace sluice::bench
