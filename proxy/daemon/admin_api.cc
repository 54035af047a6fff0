#include "proxy/daemon/admin_api.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "proxy/daemon/timestamp.h"

namespace sluice::proxy {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t usual_decisions = 100;
constexpr std::size_t usual_top = 20;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::uint64_t sum(const metrics::ReasonCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

std::uint64_t failures(const metrics::Totals& totals) {
  std::uint64_t failed = 0;
  for (std::size_t i = 0; i < reason_count; ++i) {
    if (is_failure(Reason(i))) failed += totals.denied[i];
  }
  return failed;
}

Json to_object(const metrics::BudgetUses& budgets) {
  constexpr std::array directions = {"up", "down"};
  Json object = Json::object();
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    if (!budgets[i]) continue;
    object[directions[i]] = {{"spent", budgets[i]->spent},
                             {"limit", budgets[i]->limit},
                             {"period_seconds", budgets[i]->period.count()},
                             {"resets", timestamp(budgets[i]->resets)}};
  }
  return object;
}

Json to_object(const AgentAccount& agent) {
  const metrics::Totals& totals = agent.totals;
  const std::uint64_t failed = failures(totals);
  return {{"name", agent.name},
          {"kind", agent.has_network ? "network" : "listener"},
          {"since", timestamp(agent.since)},
          {"connections", agent.connections},
          {"tunnels", totals.tunnels},
          {"allowed", totals.allowed},
          {"reported", sum(totals.reported)},
          {"denied", sum(totals.denied) - failed},
          {"failed", failed},
          {"dns_refused", sum(totals.dns_denied)},
          {"programs", totals.programs},
          {"bytes_up", totals.bytes_up},
          {"bytes_down", totals.bytes_down},
          {"budgets", to_object(agent.budgets)}};
}

Json to_object(const metrics::Blocked& blocked) {
  return {{"agent", blocked.agent},
          {"host", blocked.host},
          {"port", blocked.port},
          {"verdict", verdict_name(blocked.verdict)},
          {"reason", reason_name(blocked.reason)},
          {"rule", blocked.rule},
          {"count", blocked.count},
          {"over", blocked.over},
          {"last", timestamp(blocked.last)}};
}

bool fits(const metrics::Blocked& blocked, const metrics::Recent::Wanted& wanted) {
  return (wanted.agent.empty() || wanted.agent == blocked.agent) &&
         (!wanted.verdict || *wanted.verdict == blocked.verdict);
}

}  // namespace

std::string agents_json(const std::vector<AgentAccount>& agents,
                        std::chrono::system_clock::time_point now) {
  Json list = Json::array();
  for (const AgentAccount& agent : agents) list.push_back(to_object(agent));
  return dump({{"time", timestamp(now)}, {"agents", std::move(list)}});
}

std::string decisions_json(const metrics::Recent& recent, const DecisionQuery& query) {
  std::string out = R"({"decisions":[)";
  std::string_view before;
  for (const auto& entry : recent.last(query.wanted, query.limit.value_or(usual_decisions))) {
    out += std::exchange(before, ",");
    out += entry->json;
  }
  return out + "]}\n";
}

std::string top_json(const metrics::Recent& recent, const DecisionQuery& query) {
  const metrics::Recent::Top top = recent.top();
  const std::size_t most = query.limit.value_or(usual_top);
  Json blocked = Json::array();
  for (const metrics::Blocked& one : top.blocked) {
    if (blocked.size() == most) break;
    if (fits(one, query.wanted)) blocked.push_back(to_object(one));
  }
  Json left_out = Json::array();
  for (const auto& [agent, count] : top.left_out) {
    if (!query.wanted.agent.empty() && query.wanted.agent != agent) continue;
    left_out.push_back({{"agent", agent}, {"count", count}});
  }
  return dump({{"blocked", std::move(blocked)}, {"left_out", std::move(left_out)}});
}

std::string error_json(const Error& error) {
  return dump({{"error", error.what}, {"hint", error.hint}});
}

}  // namespace sluice::proxy
