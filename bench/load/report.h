// The one JSON line that a run prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bench/load/load.h"
#include "bench/load/options.h"
#include "bench/load/processes.h"

namespace sluice::bench {

class Report {
 public:
  explicit Report(const Options& options);

  Report& add(std::string_view key, std::string_view text);
  Report& add(std::string_view key, std::uint64_t number);
  Report& add(std::string_view key, double number);
  // Rate and latencies; keys begin with `prefix`.
  Report& add(std::string_view prefix, const Tally& tally);
  // In seconds.
  Report& add(const ProcessorTime& used);
  // Counts towards the exit status.
  Report& errors(std::uint64_t count, std::string_view first);

  // Prints it to stdout; answers the program's exit status: 1 when there were errors.
  int print();

 private:
  void key(std::string_view name);

  std::string text_ = "{";
  std::uint64_t errors_ = 0;
  std::string first_error_;
};

}  // namespace sluice::bench
