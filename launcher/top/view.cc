#include "launcher/top/view.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;

double speed(std::uint64_t now, std::uint64_t before, double seconds) {
  return now > before && seconds > 0 ? static_cast<double>(now - before) / seconds : 0;
}

// Two decimals are enough for a program, too.
double rounded(double value) { return std::round(value * 100) / 100; }

// As /api/v1/agents has them.
Json json_of(const std::vector<TopBudget>& budgets) {
  Json object = Json::object();
  for (const TopBudget& budget : budgets) {
    object[budget.direction] = {{"spent", budget.spent},
                                {"limit", budget.limit},
                                {"period_seconds", budget.period_seconds},
                                {"resets", budget.resets}};
  }
  return object;
}

Json json_of(const TopAgent& agent, const Rates& rates) {
  return {{"name", agent.name},
          {"kind", agent.kind},
          {"since", agent.since},
          {"connections", agent.connections},
          {"tunnels", agent.tunnels},
          {"allowed", agent.allowed},
          {"reported", agent.reported},
          {"denied", agent.denied},
          {"failed", agent.failed},
          {"dns_refused", agent.dns_refused},
          {"programs", agent.programs},
          {"bytes_up", agent.bytes_up},
          {"bytes_down", agent.bytes_down},
          {"budgets", json_of(agent.budgets)},
          {"requests_per_second", rounded(rates.requests)},
          {"bytes_up_per_second", rounded(rates.bytes_up)},
          {"bytes_down_per_second", rounded(rates.bytes_down)}};
}

Json json_of(const TopHost& host) {
  return {{"agent", host.agent},      {"host", host.host},     {"port", host.port},
          {"verdict", host.verdict},  {"reason", host.reason}, {"rule", host.rule},
          {"count", host.count},      {"over", host.over},     {"last", host.last},
          {"to_allow", host.to_allow}};
}

}  // namespace

View view_of(Sample now, const Sample& before, std::string time) {
  std::map<std::pair<std::string_view, std::string_view>, const TopAgent*> known;
  for (const TopAgent& agent : before.agents) known[{agent.name, agent.since}] = &agent;
  View view{.time = std::move(time), .now = std::move(now), .rates = {}};
  const double seconds = std::chrono::duration<double>(view.now.at - before.at).count();
  for (const TopAgent& agent : view.now.agents) {
    const auto found = known.find({agent.name, agent.since});
    const TopAgent& old = found == known.end() ? agent : *found->second;
    view.rates.push_back({speed(agent.requests(), old.requests(), seconds),
                          speed(agent.bytes_up, old.bytes_up, seconds),
                          speed(agent.bytes_down, old.bytes_down, seconds)});
  }
  return view;
}

void sort_agents(View& view, TopOrder order) {
  std::vector<std::size_t> places(view.now.agents.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  const auto weight = [&](std::size_t i) {
    const Rates& rates = view.rates[i];
    const TopAgent& agent = view.now.agents[i];
    const auto denied = static_cast<double>(agent.denied + agent.dns_refused);
    if (order == TopOrder::denied) return std::tuple(denied, 0.0, 0.0);
    return std::tuple(rates.requests, rates.bytes_up + rates.bytes_down,
                      static_cast<double>(agent.connections));
  };
  if (order != TopOrder::name) {
    std::ranges::stable_sort(places,
                             [&](std::size_t a, std::size_t b) { return weight(a) > weight(b); });
  }
  std::vector<TopAgent> agents;
  std::vector<Rates> rates;
  for (const std::size_t i : places) {
    agents.push_back(std::move(view.now.agents[i]));
    rates.push_back(view.rates[i]);
  }
  view.now.agents = std::move(agents);
  view.rates = std::move(rates);
}

std::string to_json(const View& view) {
  Json agents = Json::array();
  for (std::size_t i = 0; i < view.now.agents.size(); ++i) {
    agents.push_back(json_of(view.now.agents[i], view.rates[i]));
  }
  Json blocked = Json::array();
  for (const TopHost& host : view.now.blocked) blocked.push_back(json_of(host));
  Json decisions = Json::array();
  for (const TopDecision& one : view.now.decisions) decisions.push_back(Json::parse(one.json));
  const Json all{{"time", view.time},
                 {"agents", std::move(agents)},
                 {"blocked", std::move(blocked)},
                 {"decisions", std::move(decisions)},
                 {"notes", view.now.notes}};
  return all.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace sluice::launcher
