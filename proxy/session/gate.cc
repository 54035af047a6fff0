#include "proxy/session/gate.h"

#include <fmt/core.h>

#include <utility>

#include "base/text.h"

namespace sluice::proxy {
namespace {

// Audit lines are bounded: what an agent spelled is cut, paths too.
constexpr std::size_t longest_shown = 512;

std::string cut(std::string_view text) { return std::string(text.substr(0, longest_shown)); }

// Whether the bytes that passed under `before` would have passed under `now`. What nobody looked at
// passes only where no more is asked than before.
bool passes(Spoken spoken, const allowlists::Decision& before, const allowlists::Decision& now) {
  switch (spoken) {
    case Spoken::unknown:
      return now.tls >= before.tls;  // in the order of strictness
    case Spoken::not_tls:
      return now.tls != allowlists::TlsMode::require;
    case Spoken::tls_with_ech:
      return !now.refuse_ech || now.tls == allowlists::TlsMode::off;
    case Spoken::tls:
      break;
  }
  return true;
}

}  // namespace

std::string Visit::shown_target() const {
  if (line.port == 0) return line.host;
  const bool is_v6 = line.host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(is_v6 ? "[{}]:{}" : "{}:{}"), line.host, line.port);
}

Visit Gate::begin(metrics::Via via) const {
  Visit visit{.rules = agent_->rules()};
  visit.line.agent = agent_->name;
  visit.line.session = session_;
  visit.line.via = via;
  return visit;
}

Visit Gate::ask(metrics::Via via, allowlists::Target target) const {
  Visit visit = begin(via);
  visit.decision = visit.rules->decide(target);
  worker_.shared.registry.path().decided_in(Clock::now() - visit.began);
  visit.line.rule = visit.decision.rule;
  if (visit) apply_limits(visit);
  visit.line.host = target.host.to_string();
  visit.line.port = target.port;
  visit.target = std::move(target);
  return visit;
}

// Before anything is dialled: what is used up already needs no connection.
void Gate::apply_limits(Visit& visit) const {
  const LiveLimits& limits = agent_->limits;
  const auto used_up = [&](metrics::Direction direction) {
    const auto budget = limits.budget(direction);
    return budget && agent_->allowance->is_used_up(direction, *budget, Allowance::Utc::now());
  };
  std::optional<Reason> reason;
  if (limits.connections() != 0 &&
      std::cmp_greater(agent_->sessions.load(), limits.connections())) {
    reason = Reason::connection_limit;
  } else if (used_up(metrics::Direction::up)) {
    reason = Reason::upload_budget;
  } else if (used_up(metrics::Direction::down)) {
    reason = Reason::download_budget;
  }
  if (!reason) return;
  visit.decision.verdict = Verdict::deny;
  visit.decision.reason = *reason;
  visit.decision.would_deny.reset();
}

Visit Gate::ask_name(const allowlists::Host& name) const {
  Visit visit = begin(metrics::Via::dns);
  visit.decision = visit.rules->decide_any_port(name);
  worker_.shared.registry.path().decided_in(Clock::now() - visit.began);
  visit.line.rule = visit.decision.rule;
  visit.line.host = name.to_string();
  return visit;
}

Visit Gate::malformed(metrics::Via via, std::string_view shown, Reason reason) const {
  Visit visit = begin(via);
  visit.decision = {.verdict = Verdict::deny, .reason = reason};
  visit.line.rule = visit.decision.rule;
  visit.line.host = cut(shown);
  return visit;
}

wire::Refusal Gate::refuse(Visit& visit, Reason reason, std::string detail) const {
  if (!is_failure(reason)) {
    visit.decision.verdict = Verdict::deny;
    visit.decision.would_deny.reset();
  } else if (!visit) {
    visit.decision.verdict = Verdict::allow;
  }
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
                        .rule = visit.line.rule,
                        .detail = std::move(detail)};
  const bool by_rule = reason == Reason::denied || reason == Reason::never;
  if (by_rule && refusal.detail.empty()) refusal.detail = visit.decision.why;
  // Programs look up addresses for their own logs; nobody waits for the name and no sentence helps.
  const bool is_reverse = visit.line.host.ends_with(".arpa");
  if (!is_reverse && agent_->lease.is_heard()) agent_->lease.tell_denied(wire::sentence(refusal));
  return refusal;
}

void Gate::allow(Visit& visit) const {
  if (visit.counted) return;
  visit.counted = true;
  agent_->metrics->decided(visit.decision.verdict, visit.decision.reason,
                           visit.decision.would_deny);
}

void Gate::close(Visit& visit) const {
  if (visit.revoked) {
    refuse(visit, Reason::policy_changed, visit.line.error);
    return;
  }
  if (visit.spent) {
    refuse(visit, *visit.spent, "the budget ran out while bytes flowed");
    return;
  }
  allow(visit);
  write(visit);
}

void Gate::write(Visit& visit) const {
  visit.line.verdict = visit.decision.verdict;
  visit.line.reason = visit.decision.reason;
  visit.line.would_deny = visit.decision.would_deny;
  if (visit.line.path.size() > longest_shown) visit.line.path.resize(longest_shown);
  visit.line.duration =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - visit.began);
  if (worker_.shared.audit != nullptr) worker_.shared.audit->write(visit.line);
}

bool Gate::judge_again(Visit& visit, const IpAddress* address, Held held) const {
  auto rules_now = agent_->rules();
  if (rules_now == visit.rules) return !visit.revoked;
  allowlists::Decision now = rules_now->decide(*visit.target);
  const allowlists::TlsMode tls = now.tls;
  if (now && address != nullptr) {
    const auto guard = worker_.dialer->judge(*rules_now, *visit.target, *address);
    if (!guard) now = guard;
  }
  visit.revoked = !now || (held && !passes(visit.spoken, visit.decision, now));
  if (visit.revoked) {
    visit.line.rule = now.rule;
    visit.line.error = now ? "the new policy asks for TLS that was not checked"
                           : fmt::format("the new policy says {}", reason_name(now.reason));
  } else if (!held) {
    visit.decision.tls = tls;
  }
  visit.decision.refuse_ech = now.refuse_ech;
  visit.decision.rule = now.rule;
  visit.rules = std::move(rules_now);
  return !visit.revoked;
}

bool Gate::still_allows(Visit& visit, const IpAddress* address) const {
  return judge_again(visit, address, Held::no);
}

bool Gate::still_carries(Visit& visit, const IpAddress* address) const {
  return judge_again(visit, address, Held::yes);
}

bool Gate::may_reuse(const Visit& visit, const IpAddress& address) const {
  return bool(worker_.dialer->judge(*visit.rules, *visit.target, address));
}

bool Gate::may_keep(const allowlists::Target& target, const IpAddress& address) const {
  const auto rules_now = agent_->rules();
  return rules_now->decide(target) && worker_.dialer->judge(*rules_now, target, address);
}

Task<Dialled> Gate::dial(Visit& visit, const allowlists::Target& target) {
  if (!still_allows(visit, nullptr)) {
    co_return not_dialled(worker_.io, Reason::policy_changed, visit.line.error);
  }
  const auto rate = agent_->limits.connects();
  if (rate && !agent_->allowance->may_connect(*rate, Clock::now())) {
    co_return not_dialled(worker_.io, Reason::rate_limit, {});
  }
  DialOrder order{.target = &target,
                  .rules = *visit.rules,
                  .connect_timeout = worker_.shared.timeouts.connect,
                  .agent = agent_->name,
                  .give_up = &give_up_};
  Dialled dialled = co_await worker_.dialer->dial(order);
  const bool has_address = dialled.address != IpAddress();  // else an upstream proxy got the name
  if (has_address) visit.line.address = dialled.address.to_string();
  if (!dialled.connected) {
    if (dialled.rule != "default") visit.line.rule = dialled.rule;
    co_return dialled;
  }
  // The policy may have changed meanwhile; nothing was said to the origin yet.
  if (still_allows(visit, has_address ? &dialled.address : nullptr)) co_return dialled;
  Dialled revoked = not_dialled(worker_.io, Reason::policy_changed, visit.line.error);
  revoked.address = dialled.address;
  co_return revoked;
}

}  // namespace sluice::proxy
