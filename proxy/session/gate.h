// Asks the policy, and keeps the account of what came of it: metric, audit line, sentence.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "allowlists/policy.h"
#include "metrics/audit.h"
#include "proxy/egress/dialer.h"
#include "proxy/session/agent.h"
#include "proxy/wire/reply.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// What the agent's first bytes on a connection were found to be.
enum class Spoken : std::uint8_t {
  unknown,  // not looked at, or nothing said yet
  not_tls,
  tls,           // a ClientHello for the allowed host
  tls_with_ech,  // the same, with the ECH extension
};

// One decision, from the question to its line in the account.
struct Visit {
  // The last ones that judged it; they keep decision.rule alive. No older policy is held.
  std::shared_ptr<const allowlists::AgentRules> rules;
  allowlists::Decision decision;
  std::optional<allowlists::Target> target;  // none for bytes that name none, and for names in DNS
  metrics::AuditLine line;  // line.rule: of the policy that was asked first, or that denied
  Clock::time_point began = Clock::now();
  Spoken spoken = Spoken::unknown;
  bool counted = false;
  bool revoked = false;         // a later policy denies what was allowed
  std::optional<Reason> spent;  // the budget that ran out while its bytes flowed

  explicit operator bool() const noexcept { return decision.verdict != Verdict::deny; }
  Reason reason() const noexcept { return decision.reason; }
  // "api.example.com:443", as it was asked for.
  std::string shown_target() const;
};

class Gate {
 public:
  // `session` names the connection in audit lines; "" for what has none.
  Gate(Worker& worker, std::shared_ptr<Agent> agent, std::string session = {}) noexcept
      : worker_(worker), agent_(std::move(agent)), session_(std::move(session)) {}

  // Judges a target. A denial is not yet in the account: see refuse().
  Visit ask(metrics::Via via, allowlists::Target target) const;
  // The same for the agent's DNS: allowed when some port of the name is.
  Visit ask_name(const allowlists::Host& name) const;
  // For bytes that name no target: denied with `reason`. `shown` is what the agent spelled.
  Visit malformed(metrics::Via via, std::string_view shown, Reason reason) const;

  // Turns the visit into a denial or failure, writes the account, tells the agent, and says what to
  // answer. For an ask() that was denied, with its own reason.
  wire::Refusal refuse(Visit& visit, Reason reason, std::string detail = {}) const;
  wire::Refusal refuse(Visit& visit) const { return refuse(visit, visit.reason()); }

  // Counts an allowed visit, once: when its tunnel stands or its request is sent.
  void allow(Visit& visit) const;
  // Writes the line of an allowed visit, at its end; of a revoked or spent one, the denial.
  void close(Visit& visit) const;

  // Judges an allowed visit by the agent's policy of now; `address` is the one it was connected to,
  // if any. No: it is revoked, and says by which rule.
  bool still_allows(Visit& visit, const IpAddress* address) const;
  // The same for one whose bytes flow: what was seen of them must pass as well.
  bool still_carries(Visit& visit, const IpAddress* address) const;
  // The address guard, for a connection that was made for an earlier visit.
  bool may_reuse(const Visit& visit, const IpAddress& address) const;
  // The agent's policy of now on a connection that nothing uses.
  bool may_keep(const allowlists::Target& target, const IpAddress& address) const;

  // Resolves, judges and connects for an allowed visit. Refused or failed: the visit says so, but
  // is not in the account yet.
  Task<Dialled> dial(Visit& visit, const allowlists::Target& target);
  // Ends a dial under way at once; from now on every dial fails.
  void give_up_dialling() noexcept { give_up_.now(); }

  const Agent& agent() const noexcept { return *agent_; }
  // Of visits to come.
  void set_agent(std::shared_ptr<Agent> agent) noexcept { agent_ = std::move(agent); }

 private:
  using Held = YesNo<struct HeldTag>;  // to the tls: of the policy that was asked first
  bool judge_again(Visit& visit, const IpAddress* address, Held held) const;
  Visit begin(metrics::Via via) const;
  void write(Visit& visit) const;
  void apply_limits(Visit& visit) const;

  Worker& worker_;
  std::shared_ptr<Agent> agent_;
  std::string session_;
  GiveUp give_up_;
};

}  // namespace sluice::proxy
