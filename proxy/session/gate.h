// Asks the policy, and keeps the account of what came of it: metric, audit line, sentence.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "allowlists/policy.h"
#include "metrics/audit.h"
#include "proxy/egress/dialer.h"
#include "proxy/session/agent.h"
#include "proxy/wire/reply.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// One decision, from the question to its line in the account.
struct Visit {
  std::shared_ptr<const allowlists::Policy> policy;  // keeps decision.rule alive
  allowlists::Decision decision;
  metrics::AuditLine line;
  Clock::time_point began = Clock::now();
  bool counted = false;

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
  Visit ask(metrics::Via via, const allowlists::Target& target) const;
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
  // Writes the line of an allowed visit, at its end.
  void close(Visit& visit) const;

  // Resolves, judges and connects for an allowed visit. Refused or failed: the visit says so, but
  // is not in the account yet.
  Task<Dialled> dial(Visit& visit, const allowlists::Target& target) const;

  const Agent& agent() const noexcept { return *agent_; }

 private:
  const allowlists::AgentRules& rules(const Visit& visit) const noexcept;
  Visit begin(metrics::Via via) const;
  void write(Visit& visit) const;

  Worker& worker_;
  std::shared_ptr<Agent> agent_;
  std::string session_;
};

}  // namespace sluice::proxy
