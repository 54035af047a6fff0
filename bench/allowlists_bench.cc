// What a decision costs over 100,000 rules, what loading them costs, and the plain scan beside it.
//
// Names are asked in two orders: the same few again and again (their rules are in the cache), and
// any of the whole list (they are not).
#include <benchmark/benchmark.h>
#include <fmt/core.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "allowlists/load.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t rule_count = 100'000;
constexpr std::size_t question_count = 1 << 16;  // more names than any cache holds
constexpr std::size_t regex_count = 1000;

std::string host(std::size_t i) { return fmt::format("h{}.zone{}.example.com", i, i % 977); }

// Half exact, half suffix rules where `suffixes`; else exact ones only.
std::string list(bool suffixes) {
  std::string yaml = "version: 1\nagents:\n  coder-1:\n    allow:\n";
  for (std::size_t i = 0; i < rule_count; ++i) {
    yaml += fmt::format("      - host: \"{}{}\"\n", suffixes && i % 2 == 1 ? "*." : "", host(i));
  }
  return yaml;
}

std::vector<Source> sources(std::string yaml) { return {{"policy.yaml", std::move(yaml)}}; }

std::shared_ptr<const Policy> load_or_exit(std::string yaml) {
  auto loaded = load(sources(std::move(yaml)));
  if (loaded) return loaded->policy;
  fmt::print(stderr, "{}\n", to_string(loaded.error().front()));
  std::exit(EXIT_FAILURE);
}

const AgentRules& mixed_rules() {
  static const auto policy = load_or_exit(list(true));
  return policy->for_agent("coder-1");
}

// Asks the first `few` of the questions, or all of them in random order where few is 0.
class Questions {
 public:
  template <class Name>
  Questions(Name name_of, std::int64_t few) {
    std::mt19937 random(1);
    const std::size_t count = few == 0 ? question_count : static_cast<std::size_t>(few);
    for (std::size_t i = 0; i < count; ++i) {
      targets_.push_back(*Target::parse(name_of(random() % rule_count), 443));
    }
  }
  const Target& next() {
    const Target& target = targets_[at_];
    if (++at_ == targets_.size()) at_ = 0;
    return target;
  }

 private:
  std::vector<Target> targets_;
  std::size_t at_ = 0;
};

template <class Name>
void ask(benchmark::State& state, const AgentRules& rules, Name name_of, Verdict expected) {
  Questions questions(name_of, state.range(0));
  for (auto _ : state) {
    const Decision decision = rules.decide(questions.next());
    if (decision.verdict != expected) {
      state.SkipWithError("the answer is wrong");
      break;
    }
  }
}

void decide_exact(benchmark::State& state) {
  ask(
      state, mixed_rules(), [](std::size_t i) { return host(i & ~std::size_t{1}); },
      Verdict::allow);
}
void decide_suffix(benchmark::State& state) {
  ask(
      state, mixed_rules(), [](std::size_t i) { return "a.b." + host(i | 1); }, Verdict::allow);
}
void decide_miss(benchmark::State& state) {
  ask(
      state, mixed_rules(), [](std::size_t i) { return "not." + host(i & ~std::size_t{1}); },
      Verdict::deny);
}

// What the questions themselves cost: a name of the whole list is not in the cache, as it would be
// in sluiced, which has just parsed it.
void read_question(benchmark::State& state) {
  Questions questions(host, state.range(0));
  for (auto _ : state) {
    const std::string& name = questions.next().host.name();
    benchmark::DoNotOptimize(std::count(name.begin(), name.end(), '.'));
  }
}

// As decide_miss, with regex rules that are asked after all else missed.
void decide_miss_with_regexes(benchmark::State& state) {
  static const auto policy = [] {
    std::string yaml = list(true);
    for (std::size_t i = 0; i < regex_count; ++i) {
      yaml += fmt::format("      - host_regex: \"build-[0-9]+\\\\.ci{}\\\\.example\"\n", i);
    }
    return load_or_exit(std::move(yaml));
  }();
  ask(
      state, policy->for_agent("coder-1"),
      [](std::size_t i) { return "not." + host(i & ~std::size_t{1}); }, Verdict::deny);
}
void decide_regex(benchmark::State& state) {
  static const auto policy = [] {
    std::string yaml = "version: 1\nagents:\n  coder-1:\n    allow:\n";
    for (std::size_t i = 0; i < regex_count; ++i) {
      yaml += fmt::format("      - host_regex: \"build-[0-9]+\\\\.ci{}\\\\.example\"\n", i);
    }
    return load_or_exit(std::move(yaml));
  }();
  ask(
      state, policy->for_agent("coder-1"),
      [](std::size_t i) { return fmt::format("build-{}.ci{}.example", i, i % regex_count); },
      Verdict::allow);
}

void parse_host(benchmark::State& state) {
  std::vector<std::string> names;
  names.reserve(1000);
  for (std::size_t i = 0; i < 1000; ++i) names.push_back(host(i * 97));
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(Host::parse(names[at]));
    if (++at == names.size()) at = 0;
  }
}

// The same list as text patterns, looked at one after the other.
void plain_scan(benchmark::State& state) {
  std::vector<std::string> patterns;
  patterns.reserve(rule_count);
  for (std::size_t i = 0; i < rule_count; ++i)
    patterns.push_back((i % 2 == 1 ? "." : "") + host(i));
  std::mt19937 random(1);
  for (auto _ : state) {
    const std::string name = host(random() % rule_count & ~std::size_t{1});
    const auto found = std::find_if(patterns.begin(), patterns.end(), [&](const std::string& one) {
      return one.front() == '.' ? name.ends_with(one) : name == one;
    });
    if (found == patterns.end()) state.SkipWithError("the answer is wrong");
  }
}

void load_list(benchmark::State& state) {
  const auto text = sources(list(state.range(0) != 0));
  for (auto _ : state) benchmark::DoNotOptimize(load(text));
  state.counters["file_bytes"] = static_cast<double>(text.front().text.size());
}

// What the allocator holds for a policy once it is loaded, by rule.
void memory(benchmark::State& state) {
  const auto text = sources(list(state.range(0) != 0));
  double bytes = 0;
  for (auto _ : state) {
    ::malloc_trim(0);
    const struct ::mallinfo2 before = ::mallinfo2();
    const auto loaded = load(text);
    const struct ::mallinfo2 after = ::mallinfo2();
    bytes = static_cast<double>(after.uordblks + after.hblkhd) -
            static_cast<double>(before.uordblks + before.hblkhd);
  }
  state.counters["bytes_per_rule"] = bytes / rule_count;
}

constexpr std::int64_t same_few = 8;
constexpr std::int64_t whole_list = 0;

BENCHMARK(parse_host);
BENCHMARK(read_question)->ArgName("names")->Arg(same_few)->Arg(whole_list);
BENCHMARK(decide_exact)->ArgName("names")->Arg(same_few)->Arg(whole_list);
BENCHMARK(decide_suffix)->ArgName("names")->Arg(same_few)->Arg(whole_list);
BENCHMARK(decide_miss)->ArgName("names")->Arg(same_few)->Arg(whole_list);
BENCHMARK(decide_miss_with_regexes)->ArgName("names")->Arg(same_few)->Arg(whole_list);
BENCHMARK(decide_regex)->ArgName("names")->Arg(same_few)->Arg(whole_list);
BENCHMARK(plain_scan)->Unit(benchmark::kMicrosecond);
BENCHMARK(load_list)->ArgName("suffixes")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);
BENCHMARK(memory)->ArgName("suffixes")->Arg(0)->Arg(1)->Iterations(1);

}  // namespace
}  // namespace sluice::allowlists

BENCHMARK_MAIN();
