#include "launcher/top/sample.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <tuple>

#include "launcher/json/shallow_json.h"
#include "launcher/top/rule_to_paste.h"

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;

// Calls `each` with the members of the page's list; whatever is missing or of another kind throws.
Result<void> for_each(std::string_view page, const char* list,
                      const std::function<void(const Json&)>& each) {
  try {
    const Json whole = parse_shallow(page);
    for (const Json& one : whole.at(list)) each(one);
    return {};
  } catch (const Json::exception&) {
    return fail(Errc::unavailable, fmt::format("sluiced's list of {} is malformed", list),
                "is it of another version than sluice?");
  }
}

// A sluiced that began before sluice was upgraded may not tell of them.
std::vector<TopBudget> budgets_of(const Json& json) {
  std::vector<TopBudget> budgets;
  for (const auto& [direction, budget] : json.items()) {
    budgets.push_back({.direction = direction,
                       .spent = budget.at("spent"),
                       .limit = budget.at("limit"),
                       .period_seconds = budget.at("period_seconds"),
                       .resets = budget.at("resets")});
  }
  return budgets;
}

TopAgent agent_of(const Json& json) {
  return {.name = json.at("name"),
          .kind = json.at("kind"),
          .since = json.at("since"),
          .connections = json.at("connections"),
          .tunnels = json.at("tunnels"),
          .allowed = json.at("allowed"),
          .reported = json.at("reported"),
          .denied = json.at("denied"),
          .failed = json.at("failed"),
          .dns_refused = json.at("dns_refused"),
          .programs = json.at("programs"),
          .bytes_up = json.at("bytes_up"),
          .bytes_down = json.at("bytes_down"),
          .budgets = budgets_of(json.value("budgets", Json::object()))};
}

TopDecision decision_of(const Json& json) {
  const std::string would_deny = json.at("would_deny");
  return {.time = json.at("ts"),
          .agent = json.at("agent"),
          .via = json.at("via"),
          .host = json.at("host"),
          .port = json.at("port"),
          .verdict = json.at("verdict"),
          .reason = would_deny.empty() ? json.at("reason").get<std::string>() : would_deny,
          .json = json.dump(-1, ' ', true, Json::error_handler_t::replace)};
}

// A reason that this version does not know is none that a rule helps against.
Reason reason_of(std::string_view name) {
  for (std::size_t i = 0; i < reason_count; ++i) {
    if (reason_name(Reason(i)) == name) return Reason(i);
  }
  return Reason::internal;
}

TopHost host_of(const Json& json) {
  TopHost host{.agent = json.at("agent"),
               .host = json.at("host"),
               .port = json.at("port"),
               .verdict = json.at("verdict"),
               .reason = json.at("reason"),
               .rule = json.at("rule"),
               .count = json.at("count"),
               .over = json.at("over"),
               .last = json.at("last"),
               .to_allow = ""};
  host.to_allow = rule_to_paste(host.agent, host.host, host.port, reason_of(host.reason));
  return host;
}

}  // namespace

Result<void> add_agents(Sample& sample, std::string_view page) {
  return for_each(page, "agents", [&](const Json& one) { sample.agents.push_back(agent_of(one)); });
}

Result<void> add_decisions(Sample& sample, std::string_view page) {
  return for_each(page, "decisions",
                  [&](const Json& one) { sample.decisions.push_back(decision_of(one)); });
}

Result<void> add_top(Sample& sample, std::string_view page) {
  return for_each(page, "blocked",
                  [&](const Json& one) { sample.blocked.push_back(host_of(one)); });
}

void put_in_order(Sample& sample, std::size_t most) {
  std::ranges::sort(sample.agents, {}, &TopAgent::name);
  std::ranges::stable_sort(sample.decisions, {}, &TopDecision::time);
  if (sample.decisions.size() > most) {
    sample.decisions.erase(sample.decisions.begin(),
                           sample.decisions.end() - static_cast<std::ptrdiff_t>(most));
  }
  std::ranges::sort(sample.blocked, [](const TopHost& a, const TopHost& b) {
    return std::tie(b.count, a.agent, a.host, a.port) < std::tie(a.count, b.agent, b.host, b.port);
  });
  if (sample.blocked.size() > most) sample.blocked.resize(most);
}

std::string target_of(std::string_view host, std::uint16_t port) {
  if (port == 0) return std::string(host);
  const bool is_v6 = host.find(':') != host.npos;
  return fmt::format(fmt::runtime(is_v6 ? "[{}]:{}" : "{}:{}"), host, port);
}

}  // namespace sluice::launcher
