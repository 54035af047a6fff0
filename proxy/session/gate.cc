#include "proxy/session/gate.h"

#include <fmt/core.h>

#include "base/text.h"

namespace sluice::proxy {
namespace {

// Audit lines are bounded: what an agent spelled is cut, paths too.
constexpr std::size_t longest_shown = 512;

std::string cut(std::string_view text) { return std::string(text.substr(0, longest_shown)); }

}  // namespace

std::string Visit::shown_target() const {
  if (line.port == 0) return line.host;
  const bool is_v6 = line.host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(is_v6 ? "[{}]:{}" : "{}:{}"), line.host, line.port);
}

const allowlists::AgentRules& Gate::rules(const Visit& visit) const noexcept {
  return visit.policy->for_agent(agent_->name);
}

Visit Gate::begin(metrics::Via via) const {
  Visit visit{.policy = agent_->policy()};
  visit.line.agent = agent_->name;
  visit.line.session = session_;
  visit.line.via = via;
  return visit;
}

Visit Gate::ask(metrics::Via via, const allowlists::Target& target) const {
  Visit visit = begin(via);
  visit.decision = rules(visit).decide(target);
  visit.line.host = target.host.to_string();
  visit.line.port = target.port;
  return visit;
}

Visit Gate::ask_name(const allowlists::Host& name) const {
  Visit visit = begin(metrics::Via::dns);
  visit.decision = rules(visit).decide_any_port(name);
  visit.line.host = name.to_string();
  return visit;
}

Visit Gate::malformed(metrics::Via via, std::string_view shown, Reason reason) const {
  Visit visit = begin(via);
  visit.decision = {.verdict = Verdict::deny, .reason = reason};
  visit.line.host = cut(shown);
  return visit;
}

wire::Refusal Gate::refuse(Visit& visit, Reason reason, std::string detail) const {
  visit.decision.verdict = is_failure(reason) ? Verdict::allow : Verdict::deny;
  visit.decision.reason = reason;
  visit.line.error = detail;
  if (visit.line.via == metrics::Via::dns) {
    agent_->metrics->dns_refused(reason);
  } else if (!visit.counted) {
    visit.counted = true;
    agent_->metrics->decided(visit.decision.verdict, reason);
  }
  write(visit);
  wire::Refusal refusal{.reason = reason,
                        .agent = agent_->name,
                        .target = visit.shown_target(),
                        .rule = visit.decision.rule,
                        .detail = std::move(detail)};
  // Programs look up addresses for their own logs; nobody waits for the name and no sentence helps.
  const bool is_reverse = visit.line.host.ends_with(".arpa");
  if (!is_reverse) agent_->lease.tell_denied(wire::sentence(refusal));
  return refusal;
}

void Gate::allow(Visit& visit) const {
  if (visit.counted) return;
  visit.counted = true;
  agent_->metrics->decided(visit.decision.verdict, visit.decision.reason);
}

void Gate::close(Visit& visit) const {
  allow(visit);
  write(visit);
}

void Gate::write(Visit& visit) const {
  visit.line.verdict = visit.decision.verdict;
  visit.line.reason = visit.decision.reason;
  visit.line.rule = std::string(visit.decision.rule);
  visit.line.path = cut(visit.line.path);
  visit.line.duration =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - visit.began);
  if (worker_.shared.audit != nullptr) worker_.shared.audit->write(metrics::AuditLine(visit.line));
}

Task<Dialled> Gate::dial(Visit& visit, const allowlists::Target& target) const {
  DialOrder order{
      .target = target, .rules = rules(visit), .connect_timeout = worker_.shared.timeouts.connect};
  Dialled dialled = co_await worker_.dialer->dial(std::move(order));
  if (dialled.address != IpAddress()) visit.line.address = dialled.address.to_string();
  if (!dialled.connected && dialled.rule != "default") visit.decision.rule = dialled.rule;
  co_return dialled;
}

}  // namespace sluice::proxy
