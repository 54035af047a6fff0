// What it costs to know where an agent wants to go and whether it may, over a list of usual size;
// allowlists_bench asks the same over 100,000 rules.
#include <fmt/core.h>

#include <cstdlib>
#include <string>

#include "allowlists/address_guard.h"
#include "allowlists/load.h"
#include "bench/run.h"
#include "proxy/session/synthetic_names.h"
#include "proxy/wire/dns_message.h"
#include "proxy/wire/wire_error.h"

namespace sluice::allowlists {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t rule_count = 1000;

std::shared_ptr<const Policy> load_or_exit() {
  std::string yaml = "version: 1\nagents:\n  coder-1:\n    allow:\n";
  for (std::size_t i = 0; i < rule_count; ++i) {
    yaml += fmt::format("      - host: \"{}h{}.zone{}.example.com\"\n", i % 2 == 1 ? "*." : "", i,
                        i % 97);
  }
  const Source source{"policy.yaml", std::move(yaml)};
  auto loaded = load(std::span(&source, 1));
  if (loaded) return loaded->policy;
  fmt::print(stderr, "{}\n", to_string(loaded.error().front()));
  std::exit(EXIT_FAILURE);
}

const AgentRules& rules() {
  static const auto policy = load_or_exit();
  static const AgentRules& of_agent = policy->for_agent("coder-1");
  return of_agent;
}

void decide(const Target& target, Verdict expected) {
  const Decision decision = rules().decide(target);
  if (decision.verdict != expected) std::abort();
}

void parse_target() { benchmark::DoNotOptimize(Target::parse("h500.zone15.example.com:443", {})); }

void parse_odd_target() {
  benchmark::DoNotOptimize(Target::parse("H500.Zone15.EXAMPLE.com.:443", {}));
}

void decide_exact() {
  static const Target target = *Target::parse("h500.zone15.example.com:443", {});
  decide(target, Verdict::allow);
}
void decide_suffix() {
  static const Target target = *Target::parse("a.b.h501.zone16.example.com:443", {});
  decide(target, Verdict::allow);
}
void decide_miss() {
  static const Target target = *Target::parse("not.h500.zone15.example.com:443", {});
  decide(target, Verdict::deny);
}

// As an allowed question is answered for a name that has its address.
void answer_question() {
  static proxy::SyntheticNames names;
  constexpr std::string_view question =
      "\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"
      "\x04"
      "h500\x06"
      "zone15\x07"
      "example\x03"
      "com\x00\x00\x01\x00\x01"
      "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"sv;
  const auto query = proxy::wire::parse_dns_query(proxy::wire::as_octets(question));
  const auto host = Host::parse(query->name);
  if (!rules().decide_any_port(*host)) std::abort();
  const auto given = names.give(host->name());
  const IpAddress address = synthetic_v4(given->index);
  benchmark::DoNotOptimize(proxy::wire::dns_addresses(*query, std::span(&address, 1), 60,
                                                      proxy::wire::DnsTransport::udp));
}

constexpr bench::Operation operations[] = {
    {"parse_target", parse_target}, {"parse_odd_target", parse_odd_target},
    {"decide_exact", decide_exact}, {"decide_suffix", decide_suffix},
    {"decide_miss", decide_miss},   {"answer_question", answer_question},
};

}  // namespace
}  // namespace sluice::allowlists

int main(int argc, char** argv) {
  return sluice::bench::run(sluice::allowlists::operations, argc, argv);
}
