// How the rules of pods with an interface come into the kernel, and are read back.
#include <fmt/core.h>

#include "base/sha256.h"
#include "netns/capture.h"
#include "netns/containers/chained_rules.h"
#include "netns/nft.h"

namespace sluice::netns {
namespace {

constexpr const char* kernel_hint =
    "the kernel needs CONFIG_NF_TABLES_INET, CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_EGRESS "
    "(5.16 "
    "or newer), CONFIG_NFT_CT, CONFIG_NFT_TPROXY, CONFIG_NFT_LIMIT and CONFIG_NFT_REJECT_INET";

// What libnftables printed.
Result<std::string> run(const std::string& commands, const std::string& what) {
  const auto possible = has_nf_tables();
  if (!possible) return Failure(possible.error());
  if (!*possible) {
    return fail(Errc::unavailable, fmt::format("{}: the kernel has no nf_tables", what),
                kernel_hint);
  }
  return run_nft(commands, what, kernel_hint);
}

}  // namespace

Result<void> load_rules(const std::string& rules, const std::string& what) {
  return run(rules, what).map([](const std::string&) {});
}

Result<std::string> rules_digest(const std::string& table, const std::vector<std::string>& chains) {
  std::string listing;
  for (const std::string& chain : chains) {
    auto listed = run(fmt::format("list chain {} {}\n", table, chain),
                      fmt::format("cannot list the rules of table '{}'", table));
    if (!listed) return listed;
    listing += *listed;
  }
  return sha256_hex(listing);
}

std::vector<std::string> pod_chains() {
  return {"capture", "arrivals", "serve", "pass", "answers", "departures"};
}

std::vector<std::string> wall_chains() { return {"arrivals", "departures"}; }

}  // namespace sluice::netns
