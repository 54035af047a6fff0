#include "metrics/agent_pages.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/agent_end.h"
#include "base/reason.h"
#include "metrics/events.h"

namespace sluice::metrics {
namespace {

constexpr std::array all_verdicts = {Verdict::allow, Verdict::report, Verdict::deny};
constexpr std::array<std::string_view, 2> direction_names = {"up", "down"};
constexpr std::array<std::string_view, dns_outcome_count> dns_outcome_names = {
    "answered", "no_data", "refused", "malformed", "exhausted"};

// A failure carries the verdict that let it through; sluiced's own may also come before a verdict.
constexpr bool can_occur(Verdict verdict, Reason reason) noexcept {
  switch (verdict) {
    case Verdict::allow:
      return reason == Reason::listed || reason == Reason::listed_cidr || is_failure(reason);
    case Verdict::report:
      return reason == Reason::reported || is_failure(reason);
    case Verdict::deny:
      break;
  }
  return reason == Reason::internal || (!is_allowed(reason) && !is_failure(reason));
}

void add_decisions(Page& page, const std::string& agent, const EventSums& sums) {
  for (const Verdict verdict : all_verdicts) {
    for (std::size_t i = 0; i < reason_count; ++i) {
      const Reason reason{static_cast<std::uint8_t>(i)};
      const std::uint64_t count = sums.decisions(verdict, reason);
      if (count == 0 && !can_occur(verdict, reason)) continue;
      page.value(
          count,
          {{"agent", agent}, {"verdict", verdict_name(verdict)}, {"reason", reason_name(reason)}});
    }
  }
}

}  // namespace

AgentPages::AgentPages(std::size_t agents) {
  decisions_.reserve(agents * 4096);
  decisions_.begin(Page::Type::counter,
                   {"sluice_decisions_total",
                    "Decisions about connections and requests. Failures carry the verdict that "
                    "let them through."});
  tunnels_.begin(Page::Type::gauge, {"sluice_tunnels", "Tunnels open now."});
  bytes_.begin(Page::Type::counter,
               {"sluice_bytes_total", "Payload bytes moved; up is from the agent to the origin."});
  budgets_spent_.begin(Page::Type::gauge,
                       {"sluice_budget_spent_bytes",
                        "Bytes of its budget that the agent has moved in the window of now."});
  budget_limits_.begin(
      Page::Type::gauge,
      {"sluice_budget_limit_bytes", "Bytes that the agent's policy lets it move in each window."});
  dns_.begin(Page::Type::counter,
             {"sluice_dns_queries_total", "DNS questions of agents; none travels upstream."});
  udp_.begin(Page::Type::counter,
             {"sluice_udp_refused_total",
              "Datagrams other than DNS questions that the agent's network refused."});
  execs_.begin(Page::Type::counter, {"sluice_execs_total", "Programs that the agent started."});
  starts_.begin(Page::Type::counter, {"sluice_agent_starts_total", "Registrations of the agent."});
  ends_.begin(Page::Type::counter,
              {"sluice_agent_ends_total", "Registrations that came to an end, by why."});
}

void AgentPages::add_budgets(const std::string& agent, const BudgetUses& budgets) {
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    if (!budgets[i]) continue;
    budgets_spent_.value(budgets[i]->spent, {{"agent", agent}, {"direction", direction_names[i]}});
    budget_limits_.value(budgets[i]->limit, {{"agent", agent}, {"direction", direction_names[i]}});
  }
}

void AgentPages::add(const std::string& agent, const EventSums& sums, const BudgetUses& budgets) {
  add_decisions(decisions_, agent, sums);
  // One thread's opening may have been read before and another's closing after it.
  const auto open = static_cast<std::int64_t>(sums[Event::tunnel()]);
  tunnels_.value(std::max<std::int64_t>(open, 0), {{"agent", agent}});
  for (std::size_t i = 0; i < direction_names.size(); ++i) {
    bytes_.value(sums[Event::byte(Direction(i))],
                 {{"agent", agent}, {"direction", direction_names[i]}});
  }
  add_budgets(agent, budgets);
  for (std::size_t i = 0; i < dns_outcome_names.size(); ++i) {
    dns_.value(sums[Event::dns(DnsOutcome(i))],
               {{"agent", agent}, {"outcome", dns_outcome_names[i]}});
  }
  udp_.value(sums[Event::udp_refused()], {{"agent", agent}});
  execs_.value(sums[Event::exec()], {{"agent", agent}});
  starts_.value(sums[Event::start()], {{"agent", agent}});
  for (std::size_t i = 0; i < agent_end_count; ++i) {
    const AgentEnd end{static_cast<std::uint8_t>(i)};
    ends_.value(sums[Event::end(end)], {{"agent", agent}, {"end", agent_end_name(end)}});
  }
}

std::string AgentPages::text() && {
  std::string text = std::move(decisions_).text();
  for (Page* part : {&tunnels_, &bytes_, &budgets_spent_, &budget_limits_, &dns_, &udp_, &execs_,
                     &starts_, &ends_}) {
    text += std::move(*part).text();
  }
  return text;
}

}  // namespace sluice::metrics
