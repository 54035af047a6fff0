// Opens many tunnels, keeps them, and tries each of them again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/load.h"
#include "bench/load/visit.h"

namespace sluice::bench {

class Tunnels : public Visitor {
 public:
  struct Counts {
    std::uint64_t open = 0;     // a ping went there and back
    std::uint64_t refused = 0;  // answered with a status of 400 or more
    std::uint64_t waiting = 0;  // press(): not answered by then
    std::uint64_t errors = 0;
    std::string first_error;
  };
  // `scripts` open a tunnel to each host, `to` is where. Tries `count` of them.
  Tunnels(const Loop& loop, Plan plan, unsigned count);
  Tunnels(const Tunnels&) = delete;
  Tunnels& operator=(const Tunnels&) = delete;

  // Tries all, `plan.concurrency` at a time, each once; those not answered at `until` are errors.
  const Counts& open(Clock::time_point until);
  // As a flood does: once nothing has been answered for a second, all that are left are tried at
  // once, and those not answered a second later wait on.
  const Counts& press(Clock::time_point until);
  // Runs `script` in every tunnel that was opened. Those that closed since are errors.
  Counts try_again(const Script& script, Clock::time_point until);

  const std::vector<std::unique_ptr<Visit>>& all() const noexcept { return visits_; }

  void ended(Visit& visit, const std::string& wrong) override;

 private:
  template <class Begin>
  void run(const std::vector<Visit*>& visits, Clock::time_point until, const Begin& begin);
  void begin(Visit& visit);

  const Loop& loop_;
  const Plan plan_;
  std::vector<std::unique_ptr<Visit>> visits_;
  Counts counts_;
  std::size_t under_way_ = 0;
  Clock::time_point last_end_;
};

}  // namespace sluice::bench
