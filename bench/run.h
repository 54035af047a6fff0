// Measures single operations: by the clock, or in instructions for instructions.py.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <span>

#include "tests/unit/allowlists/allocations.h"

namespace sluice::bench {

struct Operation {
  const char* name;
  void (*run)();
};

// Not inlined: callgrind counts what is done in here, and nothing else.
[[gnu::noinline]] inline void repeat(void (*run)(), long times) {
  for (long i = 0; i < times; ++i) run();
}

// Runs each operation `times` times and prints its name and how often it took memory. What an
// operation makes only once is made before.
inline int count(std::span<const Operation> operations, long times) {
  for (const Operation& operation : operations) {
    repeat(operation.run, 1);
    const std::size_t before = allocations();
    repeat(operation.run, times);
    std::printf("%s %zu\n", operation.name, allocations() - before);
  }
  return EXIT_SUCCESS;
}

inline int measure(std::span<const Operation> operations, int argc, char** argv) {
  for (const Operation& operation : operations) {
    benchmark::RegisterBenchmark(operation.name, [run = operation.run](benchmark::State& state) {
      repeat(run, 1);
      const std::size_t before = allocations();
      for (auto _ : state) run();
      state.counters["allocations"] = benchmark::Counter(
          static_cast<double>(allocations() - before), benchmark::Counter::kAvgIterations);
    });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return EXIT_FAILURE;
  benchmark::RunSpecifiedBenchmarks();
  return EXIT_SUCCESS;
}

// SLUICE_BENCH_TIMES=N: counts N runs of each operation; else measures, as google-benchmark's
// options say.
inline int run(std::span<const Operation> operations, int argc, char** argv) {
  const char* const times = std::getenv("SLUICE_BENCH_TIMES");
  return times != nullptr ? count(operations, std::atol(times)) : measure(operations, argc, argv);
}

}  // namespace sluice::bench
