// connect, get and refused: the same operation over and over, at full speed or at a rate.
#include <fmt/core.h>

#include "bench/load/modes.h"
#include "bench/load/plans.h"
#include "bench/load/report.h"

namespace sluice::bench {
namespace {

std::vector<Script> get_scripts(const Options& options, Target target) {
  std::vector<Script> all;
  all.reserve(options.hosts);
  const Expect expect = target == Target::allowed ? Expect::answer : Expect::refusal;
  for (unsigned i = 0; i < options.hosts; ++i) {
    all.push_back({{get_head(host_name(target, i), options.origin_port, options.via), expect}});
  }
  return all;
}

std::vector<Script> refused_tunnel_scripts(const Options& options) {
  std::vector<Script> all;
  for (unsigned i = 0; i < options.hosts; ++i) {
    const std::string host = host_name(Target::refused, i);
    if (options.via == Via::sni) {
      all.push_back({{client_hello(host), Expect::closed}});
    } else {
      all.push_back({{connect_head(host, options.origin_port), Expect::refusal}});
    }
  }
  return all;
}

}  // namespace

Script ping_script() { return {{std::string(ping), Expect::echo}}; }

std::vector<Script> ping_scripts(const Options& options) {
  std::vector<Script> all;
  for (Way& way : ways(options)) {
    Script script = std::move(way.open);
    script.push_back({way.prefix + std::string(ping), Expect::echo});
    all.push_back(std::move(script));
  }
  return all;
}

Result<Plan> steady_plan(const Options& options) {
  const bool get = options.mode == "get" || (options.mode == "refused" && options.keep);
  if ((get && options.via == Via::sni) ||
      (options.mode == "refused" && options.via == Via::direct)) {
    return fail(Errc::bad_config, fmt::format("{} cannot be had this way", options.mode),
                "another --via");
  }
  Plan plan;
  plan.to = destinations(options, options.proxy);
  plan.concurrency = options.concurrency;
  plan.rate = options.rate;
  if (get) {
    plan.after = options.rotate ? Plan::After::keep_and_rotate : Plan::After::keep;
    plan.scripts = get_scripts(options, options.mode == "get" ? Target::allowed : Target::refused);
  } else {
    plan.scripts =
        options.mode == "connect" ? ping_scripts(options) : refused_tunnel_scripts(options);
  }
  return plan;
}

Result<int> run_steady(const Options& options) {
  auto plan = steady_plan(options);
  if (!plan) return Failure(plan.error());
  const Loop loop;
  Load load(loop, std::move(*plan));
  const Tally warm = load.measure(Clock::now() + seconds_of(options.warmup));
  const ProcessTree proxy(options.pids);
  const ProcessorTime before = proxy.processor_time();
  const Tally tally = load.measure(Clock::now() + seconds_of(options.seconds), [&] {
    return options.operations > 0 && load.in_measure() >= options.operations;
  });
  const ProcessorTime used = proxy.processor_time() - before;
  const Tally late = load.finish();

  Report report(options);
  report.add("", tally).add(used);
  const auto operations = static_cast<double>(std::max<std::uint64_t>(tally.operations, 1));
  report.add("cpu_us_per_operation", used.sum() * 1e6 / operations);
  report.add("answered", load.answered()).add("reconnects", load.reconnects());
  report.errors(warm.errors, warm.first_error).errors(late.errors, late.first_error);
  if (tally.operations == 0) report.errors(1, "not one operation ended in time");
  return report.print();
}

}  // namespace sluice::bench
