// What a scrape of a thousand agents costs, each of which has done something of everything.
#include <memory>
#include <string>
#include <vector>

#include "bench/run.h"
#include "metrics/registry.h"

namespace sluice::metrics {
namespace {

constexpr int agent_count = 1000;

struct Fleet {
  Fleet() {
    for (int i = 0; i < agent_count; ++i) {
      agents.push_back(registry.agent("coder-" + std::to_string(i)));
      AgentMetrics& agent = *agents.back();
      agent.started();
      agent.decided(Verdict::allow, Reason::listed);
      agent.decided(Verdict::deny, Reason::not_listed);
      agent.dns(DnsOutcome::answered);
      agent.moved(Direction::down, 123'456'789);
      agent.tunnel_opened();
    }
  }

  Registry registry{{.version = "1"}};
  std::vector<std::shared_ptr<AgentMetrics>> agents;
};

void scrape() {
  static const Fleet fleet;
  const std::string page = fleet.registry.exposition();
  benchmark::DoNotOptimize(page.data());
}

constexpr bench::Operation operations[] = {{"scrape_of_1000_agents", scrape}};

}  // namespace
}  // namespace sluice::metrics

int main(int argc, char** argv) {
  return sluice::bench::run(sluice::metrics::operations, argc, argv);
}
