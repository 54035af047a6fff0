// idle: what an open tunnel costs a proxy while nothing is said in it.
#include <algorithm>
#include <thread>

#include "bench/load/modes.h"
#include "bench/load/plans.h"
#include "bench/load/report.h"
#include "bench/load/tunnels.h"

namespace sluice::bench {
namespace {

// As long as allocators and timers of the proxy need to come to rest.
constexpr auto settle = std::chrono::seconds(1);
constexpr auto limit = std::chrono::seconds(60);

double per(std::uint64_t after, std::uint64_t before, std::uint64_t count) {
  const double more = static_cast<double>(after) - static_cast<double>(before);
  return more / static_cast<double>(std::max<std::uint64_t>(count, 1));
}

}  // namespace

Result<int> run_idle(const Options& options) {
  Plan plan;
  plan.scripts = ping_scripts(options);
  plan.to = destinations(options, options.proxy);
  plan.concurrency = options.concurrency;
  const Loop loop;
  Tunnels tunnels(loop, std::move(plan), options.count);
  const ProcessTree proxy(options.pids);
  const Memory before = proxy.memory();
  const Tunnels::Counts opened = tunnels.open(Clock::now() + limit);
  std::this_thread::sleep_for(settle);
  // Some proxies start processes and threads as they need them.
  const Memory after = ProcessTree(options.pids).memory();
  const ProcessorTime holding = proxy.processor_time();
  std::this_thread::sleep_for(seconds_of(options.seconds));
  const ProcessorTime held = proxy.processor_time() - holding;
  const Tunnels::Counts echoed = tunnels.try_again(ping_script(), Clock::now() + limit);

  Report report(options);
  report.add("tunnels", opened.open).add("echoed", echoed.open);
  report.add("rss_before_kib", before.rss).add("rss_after_kib", after.rss);
  report.add("pss_before_kib", before.pss).add("pss_after_kib", after.pss);
  report.add("rss_kib_per_tunnel", per(after.rss, before.rss, opened.open));
  report.add("pss_kib_per_tunnel", per(after.pss, before.pss, opened.open));
  report.add("held_seconds", options.seconds).add(held);
  report.add("answered", opened.open);
  report.errors(opened.errors + opened.refused,
                opened.refused > 0 ? "a tunnel was refused" : opened.first_error);
  report.errors(echoed.errors, echoed.first_error);
  return report.print();
}

}  // namespace sluice::bench
