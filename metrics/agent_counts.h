// The counters of one registration of an agent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/agent_end.h"
#include "base/reason.h"
#include "metrics/events.h"
#include "metrics/thread_counters.h"

namespace sluice::metrics {

// One kind of event. Each happens in one of them, so that it is counted once.
class Event {
  // Above its uses: clang evaluates no constant by a template that it has not read yet.
  template <class Enum>
  static constexpr std::size_t number(Enum value) noexcept {
    return static_cast<std::size_t>(value);
  }

 public:
  // `would_deny`: of report mode, whose verdicts have the reason `reported` unless they fail.
  static constexpr Event decision(Verdict verdict, Reason reason,
                                  std::optional<Reason> would_deny = {}) noexcept {
    if (verdict == Verdict::report && would_deny && !is_failure(reason)) {
      return Event(reported + number(*would_deny));
    }
    return Event(decisions + number(verdict) * reason_count + number(reason));
  }
  // A decision that only report mode let pass, by what it would be.
  static constexpr Event would_be(Reason reason) noexcept {
    return Event(reported + number(reason));
  }
  static constexpr Event dns_denial(Reason reason) noexcept {
    return Event(dns_denials + number(reason));
  }
  static constexpr Event dns(DnsOutcome outcome) noexcept {
    return Event(dns_answers + number(outcome));
  }
  static constexpr Event byte(Direction direction) noexcept {
    return Event(bytes + number(direction));
  }
  static constexpr Event udp_refused() noexcept { return Event(udp_refusals); }
  static constexpr Event exec() noexcept { return Event(execs); }
  static constexpr Event start() noexcept { return Event(starts); }
  static constexpr Event end(AgentEnd end) noexcept { return Event(ends + number(end)); }
  // A gauge.
  static constexpr Event tunnel() noexcept { return Event(tunnels); }

  constexpr std::size_t index() const noexcept { return index_; }

 private:
  constexpr explicit Event(std::size_t index) noexcept : index_(index) {}

  static constexpr std::size_t verdict_count = 3;
  static constexpr std::size_t direction_count = 2;
  static constexpr std::size_t decisions = 0;
  static constexpr std::size_t reported = decisions + verdict_count * reason_count;
  static constexpr std::size_t dns_denials = reported + reason_count;
  static constexpr std::size_t dns_answers = dns_denials + reason_count;
  static constexpr std::size_t bytes = dns_answers + dns_outcome_count;
  static constexpr std::size_t udp_refusals = bytes + direction_count;
  static constexpr std::size_t execs = udp_refusals + 1;
  static constexpr std::size_t starts = execs + 1;
  static constexpr std::size_t ends = starts + 1;
  static constexpr std::size_t tunnels = ends + agent_end_count;

  std::size_t index_;

 public:
  static constexpr std::size_t count = tunnels + 1;
};

// Sums of events.
class EventSums {
 public:
  std::uint64_t operator[](Event event) const noexcept { return sums_[event.index()]; }
  std::uint64_t& operator[](Event event) noexcept { return sums_[event.index()]; }
  EventSums& operator+=(const EventSums& other) noexcept;

  std::uint64_t decisions(Verdict verdict, Reason reason) const noexcept;

 private:
  friend class AgentCounts;
  std::array<std::uint64_t, Event::count> sums_{};
};

// What agents do all the time is counted by each thread for itself. The rest is in one row for all
// threads, which costs a locked instruction: a row for each thread would hold 1.5 KiB an agent.
class AgentCounts {
 public:
  void add(Event event, std::uint64_t amount = 1) noexcept;
  EventSums sums() const noexcept;
  // Adds what another one counted until now.
  void take_in(const AgentCounts& other) noexcept;

 private:
  static constexpr std::size_t common_count = 24;

  ThreadCounters<common_count> common_;
  std::array<Counter, Event::count - common_count> rare_{};
};

}  // namespace sluice::metrics
