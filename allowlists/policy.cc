#include "allowlists/policy.h"

#include <algorithm>
#include <array>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "allowlists/address_guard.h"
#include "allowlists/agent_pattern.h"
#include "allowlists/compile.h"
#include "allowlists/rule_index.h"

namespace sluice::allowlists {
namespace {

using Kind = Outcome::Kind;

constexpr std::array own_loopback = {
    IpAddress::v4(0x7f000001), IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})};
// No rule can list it, so that only what is said of every port answers.
constexpr std::uint16_t no_port = 0;

constexpr Decision deny(Reason reason) noexcept { return {.reason = reason}; }

// An address and the IPv4 addresses inside it: what is refused of one is refused of all.
class Parts {
 public:
  explicit Parts(const IpAddress& address) noexcept : embedded_(embedded_ipv4(address)) {
    parts_[0] = address;
    std::copy_n(embedded_.address.begin(), embedded_.count, parts_.begin() + 1);
  }
  const IpAddress* begin() const noexcept { return parts_.data(); }
  const IpAddress* end() const noexcept { return parts_.data() + 1 + embedded_.count; }

 private:
  Embedded embedded_;
  std::array<IpAddress, 1 + std::tuple_size_v<decltype(Embedded::address)>> parts_;
};

struct RuleSet {
  explicit RuleSet(std::span<const Rule> rules) : hosts(rules), ranges(rules) {}
  HostIndex hosts;
  CidrIndex ranges;
};

class RulesOfAgent final : public AgentRules {
 public:
  RulesOfAgent(const RuleSet& never, std::span<const Rule> rules, const RulePlaces& places)
      : never_(never), rules_(rules), places_(places) {}

  Decision decide(const Target& target) const noexcept override {
    if (!target.host.is_name()) return decide_address(target.host.address(), target.port);
    return decide_name(Suffixes(target.host.name()), target.port);
  }

  Decision decide_any_port(const Host& host) const noexcept override {
    if (!host.is_name()) {
      const IpAddress& address = host.address();
      return first_allowed(rules_.ranges.candidate_ports(address),
                           [&](std::uint16_t port) { return decide_address(address, port); });
    }
    const Suffixes name(host.name());
    const auto decide_port = [&](std::uint16_t port) { return decide_name(name, port); };
    if (host.name() != own_loopback_name) {
      return first_allowed(rules_.hosts.candidate_ports(name), decide_port);
    }
    Decision decision;
    for (const IpAddress& address : own_loopback) {
      decision = first_allowed(rules_.ranges.candidate_ports(address), decide_port);
      if (decision) break;
    }
    return decision;
  }

  Decision judge_address(const IpAddress& address, std::uint16_t port,
                         OnThisMachine local) const noexcept override {
    if (classify(address) == AddressClass::forbidden) return deny(Reason::address_forbidden);
    const Parts parts(address);
    if (const Decision refused = refuse(parts, port); refused.reason != Reason::not_listed) {
      return refused;
    }
    if (!covered(parts, port, local)) return deny(Reason::address_private);
    const Outcome outcome = rules_.ranges.find(address, port, OtherPorts::are_no_match);
    if (outcome.kind == Kind::allow) return decision(outcome, Reason::listed_cidr);
    return {.verdict = Verdict::allow, .reason = Reason::listed};
  }

 private:
  Decision decision(const Outcome& outcome, Reason allowed) const noexcept {
    Decision made{.tls = outcome.tls, .refuse_ech = outcome.refuse_ech};
    switch (outcome.kind) {
      case Kind::none:
        return made;
      case Kind::allow:
        made.verdict = Verdict::allow;
        made.reason = allowed;
        break;
      case Kind::deny:
        made.reason = Reason::denied;
        break;
      case Kind::wrong_port:
        made.reason = Reason::port_not_allowed;
        break;
    }
    made.rule = places_[outcome.rule];
    return made;
  }

  Decision never(const Outcome& outcome) const noexcept {
    return {.reason = Reason::never, .rule = places_[outcome.rule]};
  }

  Decision decide_name(const Suffixes& name, std::uint16_t port) const noexcept {
    const Outcome floor = never_.hosts.find(name, port);
    if (floor.kind == Kind::deny) return never(floor);
    if (name.name() == own_loopback_name) return decide_own_loopback(name, port);
    return decision(rules_.hosts.find(name, port), Reason::listed);
  }

  // A deny rule may name this name; to allow it takes a cidr rule.
  Decision decide_own_loopback(const Suffixes& name, std::uint16_t port) const noexcept {
    const Outcome named = rules_.hosts.find_named(name, port);
    if (named.kind == Kind::deny) return decision(named, Reason::listed);
    const Decision first = decide_address(own_loopback[0], port);
    if (first) return first;
    const Decision second = decide_address(own_loopback[1], port);
    return second || first.reason == Reason::address_private ? second : first;
  }

  Decision decide_address(const IpAddress& address, std::uint16_t port) const noexcept {
    const AddressClass is = classify(address);
    if (is == AddressClass::forbidden) return deny(Reason::address_forbidden);
    const Parts parts(address);
    const Decision refused = refuse(parts, port);
    if (refused.reason == Reason::never) return refused;
    const Outcome outcome = rules_.ranges.find(address, port, OtherPorts::decide);
    if (outcome.kind == Kind::wrong_port) return decision(outcome, Reason::listed_cidr);
    if (refused.reason == Reason::denied) return refused;
    if (!covered(parts, port, OnThisMachine::no)) return deny(Reason::address_private);
    return decision(outcome, Reason::listed_cidr);
  }

  // never, denied, or not_listed for an address of which no rule says so.
  Decision refuse(const Parts& parts, std::uint16_t port) const noexcept {
    const Outcome floor = never_.hosts.find_any(port);
    if (floor.kind == Kind::deny) return never(floor);
    for (const IpAddress& part : parts) {
      const Outcome outcome = never_.ranges.find(part, port, OtherPorts::are_no_match);
      if (outcome.kind == Kind::deny) return never(outcome);
    }
    for (const IpAddress& part : parts) {
      const Outcome outcome = rules_.ranges.find(part, port, OtherPorts::are_no_match);
      if (outcome.kind == Kind::deny) return decision(outcome, Reason::listed_cidr);
    }
    return {};
  }

  // Whether allow rules cover what of it is not the open internet.
  bool covered(const Parts& parts, std::uint16_t port, OnThisMachine local) const noexcept {
    return std::all_of(parts.begin(), parts.end(), [&](const IpAddress& part) {
      const bool outermost = &part == parts.begin();
      if (own_class(part) == AddressClass::open && !(outermost && bool{local})) return true;
      return rules_.ranges.find(part, port, OtherPorts::are_no_match).kind == Kind::allow;
    });
  }

  // The first port that is allowed; else what the first one is answered, or a port nobody lists.
  template <class Decide>
  static Decision first_allowed(std::span<const LevelShapes::OnPort> ports,
                                Decide decide) noexcept {
    for (const LevelShapes::OnPort& on : ports) {
      if (const Decision made = decide(on.port)) return made;
    }
    return decide(ports.empty() ? no_port : ports.front().port);
  }

  const RuleSet& never_;
  RuleSet rules_;
  const RulePlaces& places_;
};

// Denies everything for one reason.
class NoRules final : public AgentRules {
 public:
  explicit NoRules(Reason reason) noexcept : reason_(reason) {}
  Decision decide(const Target& target) const noexcept override {
    if (reason_ == Reason::unknown_agent || target.host.is_name()) return deny(reason_);
    return judge_address(target.host.address(), target.port, OnThisMachine::no);
  }
  Decision decide_any_port(const Host&) const noexcept override { return deny(reason_); }
  Decision judge_address(const IpAddress& address, std::uint16_t,
                         OnThisMachine local) const noexcept override {
    if (reason_ == Reason::unknown_agent) return deny(reason_);
    const AddressClass is = classify(address);
    if (is == AddressClass::forbidden) return deny(Reason::address_forbidden);
    const bool open = is == AddressClass::open && !local;
    return deny(open ? reason_ : Reason::address_private);
  }

 private:
  Reason reason_;
};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>()(text);
  }
};

class CompiledPolicy final : public Policy {
 public:
  explicit CompiledPolicy(PolicyText text) : places_(std::move(text.places)), never_(text.never) {
    for (AgentEntry& entry : text.agents) {
      auto rules = std::make_unique<RulesOfAgent>(never_, entry.rules, places_);
      if (is_agent_name(entry.pattern)) {
        exact_agents_.push_back(entry.pattern);
        exact_.emplace(std::move(entry.pattern), std::move(rules));
      } else {
        globs_.emplace_back(std::move(entry.pattern), std::move(rules));
      }
    }
    std::sort(globs_.begin(), globs_.end(),
              [](const auto& a, const auto& b) { return glob_precedes(a.first, b.first); });
  }

  const AgentRules& for_agent(std::string_view agent) const noexcept override {
    const AgentRules* rules = find(agent);
    return rules != nullptr ? *rules : unknown_;
  }
  bool knows(std::string_view agent) const noexcept override { return find(agent) != nullptr; }
  const std::vector<std::string>& exact_agents() const noexcept override { return exact_agents_; }
  std::size_t rule_count() const noexcept override { return places_.size(); }

 private:
  const AgentRules* find(std::string_view agent) const noexcept {
    if (!is_agent_name(agent)) return nullptr;
    if (const auto exact = exact_.find(agent); exact != exact_.end()) return exact->second.get();
    for (const auto& [glob, rules] : globs_) {
      if (glob_matches(glob, agent)) return rules.get();
    }
    return nullptr;
  }

  using Rules = std::unique_ptr<const RulesOfAgent>;
  RulePlaces places_;
  RuleSet never_;
  std::unordered_map<std::string, Rules, TextHash, std::equal_to<>> exact_;
  std::vector<std::pair<std::string, Rules>> globs_;  // the first that matches is the entry
  std::vector<std::string> exact_agents_;
  NoRules unknown_{Reason::unknown_agent};
};

class EmptyPolicy final : public Policy {
 public:
  const AgentRules& for_agent(std::string_view) const noexcept override { return rules_; }
  bool knows(std::string_view agent) const noexcept override { return is_agent_name(agent); }
  const std::vector<std::string>& exact_agents() const noexcept override { return none_; }
  std::size_t rule_count() const noexcept override { return 0; }

 private:
  NoRules rules_{Reason::not_listed};
  std::vector<std::string> none_;
};

}  // namespace

std::uint32_t RulePlaces::add(std::string_view file, int line) {
  text_ += file;
  text_ += ':';
  text_ += std::to_string(line);
  ends_.push_back(static_cast<std::uint32_t>(text_.size()));
  return static_cast<std::uint32_t>(ends_.size() - 1);
}

std::string_view RulePlaces::operator[](std::uint32_t id) const noexcept {
  const std::size_t begin = id == 0 ? 0 : ends_[id - 1];
  return std::string_view(text_).substr(begin, ends_[id] - begin);
}

std::shared_ptr<const Policy> compile(PolicyText text) {
  return std::make_shared<const CompiledPolicy>(std::move(text));
}

std::shared_ptr<const Policy> empty_policy() { return std::make_shared<const EmptyPolicy>(); }

}  // namespace sluice::allowlists
