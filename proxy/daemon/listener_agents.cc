#include "proxy/daemon/listener_agents.h"

#include <fmt/core.h>

#include "base/text.h"
#include "proxy/session/caller.h"

namespace sluice::proxy {

std::shared_ptr<Agent> ListenerAgents::make(const std::string& name) {
  return std::make_shared<Agent>(name, policy_, registry_.agent(name), nullptr,
                                 allowances_.of(name));
}

void ListenerAgents::set_policy(std::shared_ptr<const allowlists::Policy> policy) {
  // Under the lock to the end: whoever is made meanwhile would keep the old one.
  const std::scoped_lock lock(mutex_);
  policy_ = std::move(policy);
  for (const auto& [name, agent] : kept_) agent->set_policy(policy_);
  for (const auto& [name, visiting] : visiting_) {
    if (const auto agent = visiting.lock()) agent->set_policy(policy_);
  }
  if (nobody_) nobody_->set_policy(policy_);
}

std::shared_ptr<Agent> ListenerAgents::keep(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto& agent = kept_[name];
  if (!agent) agent = make(name);
  return agent;
}

std::shared_ptr<Agent> ListenerAgents::nobody() {
  const std::scoped_lock lock(mutex_);
  if (!nobody_) nobody_ = make(std::string(nobody_name));
  return nobody_;
}

void ListenerAgents::forget_gone() {
  std::erase_if(visiting_, [](const auto& entry) { return entry.second.expired(); });
}

Result<std::shared_ptr<Agent>> ListenerAgents::visit(const std::string& name) {
  if (!allowlists::is_agent_name(name)) {
    return fail(Errc::not_permitted, name.empty() ? "the certificate names nobody"
                                                  : fmt::format("'{}' in the certificate is no "
                                                                "agent name",
                                                                text::printable(name)));
  }
  const std::scoped_lock lock(mutex_);
  if (const auto kept = kept_.find(name); kept != kept_.end()) return kept->second;
  if (registered_.contains(name)) {
    return fail(Errc::not_permitted, fmt::format("the agent name '{}' is taken", name));
  }
  const auto found = visiting_.find(name);
  if (found != visiting_.end()) {
    if (auto agent = found->second.lock()) return agent;
  } else if (visiting_.size() >= most_visiting) {
    forget_gone();
    if (visiting_.size() >= most_visiting) {
      return fail(Errc::unavailable, "as many agents are here by certificate as there can be");
    }
  }
  auto agent = make(name);
  visiting_[name] = agent;
  return agent;
}

bool ListenerAgents::reserve(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  if (kept_.contains(name)) return false;
  const auto visiting = visiting_.find(name);
  if (visiting != visiting_.end() && !visiting->second.expired()) return false;
  registered_.insert(name);
  return true;
}

void ListenerAgents::release(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  registered_.erase(name);
}

std::vector<AgentAccount> ListenerAgents::accounts() const {
  std::vector<AgentAccount> accounts;
  const auto add = [&](const Agent& agent) {
    accounts.push_back(account_of(agent, HasNetwork::no));
  };
  const std::scoped_lock lock(mutex_);
  if (nobody_) add(*nobody_);
  for (const auto& [name, agent] : kept_) add(*agent);
  for (const auto& [name, visiting] : visiting_) {
    if (const auto agent = visiting.lock()) add(*agent);
  }
  return accounts;
}

int ListenerAgents::sessions() const {
  const std::scoped_lock lock(mutex_);
  int open = nobody_ ? nobody_->sessions.load() : 0;
  for (const auto& [name, agent] : kept_) open += agent->sessions;
  for (const auto& [name, visiting] : visiting_) {
    if (const auto agent = visiting.lock()) open += agent->sessions;
  }
  return open;
}

}  // namespace sluice::proxy
