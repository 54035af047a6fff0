// What the data path measures of itself, over all agents.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/reason.h"
#include "metrics/histogram.h"

namespace sluice::metrics {

class Families;

// Why name servers gave no address.
enum class ResolverFailure : std::uint8_t {
  timeout,     // none answered in time
  no_address,  // there is no such name, or none with an address
  server,      // a name server failed, or its answer was none
  bounded,     // not asked: too many names were being resolved already
};
inline constexpr std::size_t resolver_failure_count = 4;

// Any thread; nothing is locked, allocated or thrown.
class PathCounts {
 public:
  PathCounts() noexcept;

  // From a target to the verdict of the policy.
  void decided_in(std::chrono::nanoseconds time) noexcept { decisions_.observe(time); }
  // From the first connect(2) of an attempt to a connection that stands.
  void connected_in(std::chrono::nanoseconds time) noexcept { connects_.observe(time); }
  // A reason that is no connect_refused, connect_timeout or unreachable counts as internal.
  void connect_failed(Reason error) noexcept;
  // From a question to name servers to their answer, whatever it was.
  void resolved_in(std::chrono::nanoseconds time) noexcept { questions_.observe(time); }
  void resolving_failed(ResolverFailure kind) noexcept;
  // Of the bytes moved, those that never came into this process.
  void spliced(std::uint64_t bytes) noexcept { spliced_.add(0, bytes); }

  void show(Families& page) const;

 private:
  static constexpr std::size_t connect_error_count = 4;

  Histogram decisions_;
  Histogram connects_;
  Histogram questions_;
  ThreadCounters<connect_error_count> connect_failures_;
  ThreadCounters<resolver_failure_count> resolver_failures_;
  ThreadCounters<1> spliced_;
};

}  // namespace sluice::metrics
