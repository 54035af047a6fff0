// Keeps visits going at a pace, and counts what became of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "bench/load/visit.h"

namespace sluice::bench {

// What a load asks for, one script for each host.
struct Plan {
  std::vector<Script> scripts;
  std::vector<sockaddr_in> to;  // for each host
  unsigned concurrency = 1;
  double rate = 0;  // 0: closed loop, `concurrency` at a time
  // What follows an operation on its connection: nothing, one for the same host, for another.
  enum class After : std::uint8_t { close, keep, keep_and_rotate } after = After::close;
};
// Where each host of the run is reached: the proxy, or the host itself.
std::vector<sockaddr_in> destinations(const Options& options, const sockaddr_in& proxy);

// Of one measured stretch. Latencies are of operations that were begun in it.
struct Tally {
  std::uint64_t operations = 0;
  std::uint64_t errors = 0;
  std::string first_error;
  Histogram latency;
  double seconds = 0;
};

class Load : public Visitor {
 public:
  Load(const Loop& loop, Plan plan);
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  using Enough = std::function<bool()>;
  // Goes on until `until`, or until `enough` says so.
  Tally measure(Clock::time_point until, const Enough& enough = {});
  // Begins nothing more and waits for what is under way, for at most ten seconds.
  Tally finish();

  // Operations begun and answered rightly since the beginning, warm-up and finish included: what a
  // proxy's own accounts must show.
  std::uint64_t answered() const noexcept { return answered_; }
  std::uint64_t in_measure() const noexcept { return tally_.operations; }
  std::uint64_t reconnects() const noexcept;

  void ended(Visit& visit, const std::string& wrong) override;

 private:
  void begin(Visit& visit, Clock::time_point due);
  void begin_what_is_due(Clock::time_point now);
  unsigned next_host(const Visit& visit) noexcept;

  const Loop& loop_;
  const Plan plan_;
  std::vector<std::unique_ptr<Visit>> visits_;
  std::vector<Visit*> idle_;
  Clock::time_point next_due_;
  Clock::time_point measure_began_;
  Tally tally_;
  std::uint64_t answered_ = 0;
  std::uint64_t random_ = 0x9e3779b97f4a7c15;
};

}  // namespace sluice::bench
