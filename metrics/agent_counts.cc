#include "metrics/agent_counts.h"

#include <algorithm>
#include <functional>
#include <limits>

namespace sluice::metrics {
namespace {

// In the order of the cache lines of a row: what each tunnel and request counts is in the first.
constexpr std::array common_events = {Event::byte(Direction::up),
                                      Event::byte(Direction::down),
                                      Event::tunnel(),
                                      Event::decision(Verdict::allow, Reason::listed),
                                      Event::decision(Verdict::allow, Reason::listed_cidr),
                                      Event::would_be(Reason::not_listed),
                                      Event::dns(DnsOutcome::answered),
                                      Event::dns(DnsOutcome::refused),
                                      Event::decision(Verdict::deny, Reason::not_listed),
                                      Event::decision(Verdict::deny, Reason::denied),
                                      Event::decision(Verdict::deny, Reason::never),
                                      Event::decision(Verdict::deny, Reason::port_not_allowed),
                                      Event::decision(Verdict::deny, Reason::request_not_allowed),
                                      Event::decision(Verdict::deny, Reason::address_private),
                                      Event::dns_denial(Reason::not_listed),
                                      Event::dns(DnsOutcome::no_data),
                                      Event::decision(Verdict::deny, Reason::bad_request),
                                      Event::decision(Verdict::deny, Reason::bad_host),
                                      Event::decision(Verdict::deny, Reason::sni_mismatch),
                                      Event::decision(Verdict::deny, Reason::connection_limit),
                                      Event::decision(Verdict::deny, Reason::rate_limit),
                                      Event::decision(Verdict::deny, Reason::upload_budget),
                                      Event::decision(Verdict::deny, Reason::download_budget),
                                      Event::decision(Verdict::deny, Reason::deadline)};

using Place = std::uint8_t;
static_assert(Event::count <= std::numeric_limits<Place>::max());

// Event -> place: the common ones first, then the others.
constexpr std::array<Place, Event::count> places = [] {
  std::array<Place, Event::count> made{};
  Place next = common_events.size();
  for (std::size_t i = 0; i < made.size(); ++i) {
    const auto* const found = std::find_if(common_events.begin(), common_events.end(),
                                           [i](Event event) { return event.index() == i; });
    made[i] =
        found == common_events.end() ? next++ : static_cast<Place>(found - common_events.begin());
  }
  return made;
}();

}  // namespace

EventSums& EventSums::operator+=(const EventSums& other) noexcept {
  std::transform(sums_.begin(), sums_.end(), other.sums_.begin(), sums_.begin(), std::plus<>());
  return *this;
}

std::uint64_t EventSums::decisions(Verdict verdict, Reason reason) const noexcept {
  std::uint64_t sum = (*this)[Event::decision(verdict, reason)];
  if (verdict != Verdict::report || reason != Reason::reported) return sum;
  for (std::size_t i = 0; i < reason_count; ++i) {
    sum += (*this)[Event::would_be(Reason{static_cast<std::uint8_t>(i)})];
  }
  return sum;
}

void AgentCounts::add(Event event, std::uint64_t amount) noexcept {
  static_assert(common_events.size() == common_count);
  const std::size_t place = places[event.index()];
  if (place < common_count) {
    common_.add(place, amount);
  } else {
    rare_[place - common_count].fetch_add(amount, std::memory_order_relaxed);
  }
}

EventSums AgentCounts::sums() const noexcept {
  const auto common = common_.sums();
  EventSums sums;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::size_t place = places[i];
    sums.sums_[i] = place < common_count
                        ? common[place]
                        : rare_[place - common_count].load(std::memory_order_relaxed);
  }
  return sums;
}

void AgentCounts::take_in(const AgentCounts& other) noexcept {
  const EventSums sums = other.sums();
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (sums.sums_[i] == 0) continue;
    const std::size_t place = places[i];
    if (place < common_count) {
      common_.add(place, sums.sums_[i]);
    } else {
      rare_[place - common_count].fetch_add(sums.sums_[i], std::memory_order_relaxed);
    }
  }
}

}  // namespace sluice::metrics
