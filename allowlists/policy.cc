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
#include "allowlists/open_ports.h"
#include "allowlists/regex_index.h"
#include "allowlists/rule_index.h"

namespace sluice::allowlists {
namespace {

using Kind = Outcome::Kind;

constexpr std::array own_loopback = {
    IpAddress::v4(0x7f000001), IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})};
// No rule can list it, so that only what is said of every port answers.
constexpr std::uint16_t no_port = 0;

constexpr Decision deny(Reason reason) noexcept { return {.reason = reason}; }

// Whether a name led to an address, or the address itself was asked for.
using ByName = YesNo<struct ByNameTag>;

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
  explicit RuleSet(std::span<const Rule> rules) : hosts(rules), regexes(rules), ranges(rules) {}

  // The most specific level that matches the name decides.
  Outcome find(const Suffixes& name, std::uint16_t port) const noexcept {
    const Outcome named = find_named(name, port);
    return named.kind == Kind::none ? hosts.find_any(port) : named;
  }
  // As find(), without the any rules.
  Outcome find_named(const Suffixes& name, std::uint16_t port) const noexcept {
    const Outcome outcome = hosts.find_named(name, port);
    return outcome.kind == Kind::none ? regexes.find(name.name(), port) : outcome;
  }

  HostIndex hosts;
  RegexIndex regexes;
  CidrIndex ranges;
};

// Where rules stand, and what the operator says of those that deny.
struct RuleTexts {
  explicit RuleTexts(const PolicyText& text) : places(text.places) {
    add(text.never);
    for (const AgentEntry& entry : text.agents) add(entry.rules);
  }
  std::string_view why(std::uint32_t id) const noexcept {
    const auto found = whys.find(id);
    return found == whys.end() ? std::string_view() : found->second;
  }

  RulePlaces places;
  std::unordered_map<std::uint32_t, std::string> whys;

 private:
  void add(std::span<const Rule> rules) {
    for (const Rule& rule : rules) {
      if (rule.effect == Effect::deny && !rule.why.empty()) whys.emplace(rule.id, rule.why);
    }
  }
};

class RulesOfAgent final : public AgentRules {
 public:
  RulesOfAgent(const RuleSet& never, const AgentEntry& entry, const RuleTexts& texts)
      : never_(never),
        rules_(entry.rules),
        mode_(entry.mode),
        limits_(entry.limits),
        sandbox_(entry.sandbox),
        open_ports_(allowlists::open_ports(entry.mode, entry.rules)),
        texts_(texts) {}

  const OpenPorts& open_ports() const noexcept override { return open_ports_; }
  Mode mode() const noexcept override { return mode_; }
  const Limits& limits() const noexcept override { return limits_; }
  const Sandbox& sandbox() const noexcept override { return sandbox_; }

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
    if (host.name() != own_loopback_name) return decide_some_port(name);
    Decision decision;
    for (const IpAddress& address : own_loopback) {
      decision = first_allowed(rules_.ranges.candidate_ports(address), decide_port);
      if (decision) break;
    }
    return decision;
  }

  Decision judge_address(const Target& asked, const IpAddress& address,
                         OnThisMachine local) const noexcept override {
    if (classify(address) == AddressClass::forbidden) return deny(Reason::address_forbidden);
    const Parts parts(address);
    const std::uint16_t port = asked.port;
    const bool named = asked.host.is_name() && asked.host.name() != own_loopback_name;
    if (const Decision refused = refuse(parts, port, ByName(named));
        refused.reason != Reason::not_listed) {
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
        made.why = texts_.why(outcome.rule);
        break;
      case Kind::wrong_port:
        made.reason = Reason::port_not_allowed;
        break;
    }
    made.rule = texts_.places[outcome.rule];
    return made;
  }

  Decision never(const Outcome& outcome) const noexcept {
    return {.reason = Reason::never,
            .rule = texts_.places[outcome.rule],
            .why = texts_.why(outcome.rule)};
  }

  Decision decide_name(const Suffixes& name, std::uint16_t port) const noexcept {
    const Outcome floor = never_.find(name, port);
    if (floor.kind == Kind::deny) return never(floor);
    if (name.name() == own_loopback_name) return decide_own_loopback(name, port);
    return reported(decision(rules_.find(name, port), Reason::listed), port);
  }

  // A deny rule may name this name; to allow it takes a cidr rule.
  Decision decide_own_loopback(const Suffixes& name, std::uint16_t port) const noexcept {
    const Outcome named = rules_.find_named(name, port);
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
    const Decision refused = refuse(parts, port, ByName::no);
    if (refused.reason == Reason::never) return refused;
    const Outcome outcome = rules_.ranges.find(address, port, OtherPorts::decide);
    // Report mode lets another port pass only where the guard will.
    if (outcome.kind == Kind::wrong_port && mode_ == Mode::enforce) {
      return decision(outcome, Reason::listed_cidr);
    }
    if (refused.reason == Reason::denied) return refused;
    if (!covered(parts, port, OnThisMachine::no)) return deny(Reason::address_private);
    return reported(decision(outcome, Reason::listed_cidr), port);
  }

  // never, denied, or not_listed for an address of which no rule says so.
  Decision refuse(const Parts& parts, std::uint16_t port, ByName by_name) const noexcept {
    const Outcome floor = never_.hosts.find_any(port);
    if (floor.kind == Kind::deny) return never(floor);
    for (const IpAddress& part : parts) {
      const Outcome outcome = never_.ranges.find(part, port, OtherPorts::are_no_match);
      if (outcome.kind == Kind::deny) return never(outcome);
    }
    for (const IpAddress& part : parts) {
      const Outcome outcome = by_name ? rules_.ranges.find_deny(part, port)
                                      : rules_.ranges.find(part, port, OtherPorts::are_no_match);
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

  // Where exact and suffix rules do not decide, every port that a regex or any rule lists is tried.
  Decision decide_some_port(const Suffixes& name) const noexcept {
    const auto decide_port = [&](std::uint16_t port) { return decide_name(name, port); };
    const auto named = rules_.hosts.candidate_ports(name);
    Decision decision = first_allowed(named ? *named : rules_.hosts.any_ports(), decide_port);
    if (!decision && !named) {
      for (const std::uint16_t port : rules_.regexes.ports()) {
        const Decision other = decide_port(port);
        if (other) return other;
        if (decision.reason == Reason::not_listed) decision = other;
      }
    }
    // In report mode a port that no rule lists passes, unless a rule denies all of them.
    if (!decision && mode_ == Mode::report) return decide_port(no_port);
    return decision;
  }

  // What report mode makes of a decision.
  Decision reported(Decision made, std::uint16_t port) const noexcept {
    const bool relaxed =
        made.reason == Reason::not_listed || made.reason == Reason::port_not_allowed;
    if (mode_ == Mode::enforce || !relaxed) return made;
    made.would_deny = made.reason;
    made.verdict = Verdict::report;
    made.reason = Reason::reported;
    made.tls = port == 443 ? TlsMode::require : TlsMode::match;
    return made;
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
  Mode mode_;
  Limits limits_;
  Sandbox sandbox_;
  OpenPorts open_ports_;
  const RuleTexts& texts_;
};

// Denies everything for one reason.
class NoRules final : public AgentRules {
 public:
  explicit NoRules(Reason reason) noexcept : reason_(reason) {}
  Decision decide(const Target& target) const noexcept override {
    if (reason_ == Reason::unknown_agent || target.host.is_name()) return deny(reason_);
    return judge_address(target, target.host.address(), OnThisMachine::no);
  }
  Decision decide_any_port(const Host&) const noexcept override { return deny(reason_); }
  Decision judge_address(const Target&, const IpAddress& address,
                         OnThisMachine local) const noexcept override {
    if (reason_ == Reason::unknown_agent) return deny(reason_);
    const AddressClass is = classify(address);
    if (is == AddressClass::forbidden) return deny(Reason::address_forbidden);
    const bool open = is == AddressClass::open && !local;
    return deny(open ? reason_ : Reason::address_private);
  }
  const OpenPorts& open_ports() const noexcept override { return none_; }
  Mode mode() const noexcept override { return Mode::enforce; }
  const Limits& limits() const noexcept override { return limits_; }
  const Sandbox& sandbox() const noexcept override { return sandbox_; }

 private:
  Reason reason_;
  Limits limits_;
  Sandbox sandbox_;
  OpenPorts none_;
};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>()(text);
  }
};

class CompiledPolicy final : public Policy {
 public:
  explicit CompiledPolicy(const PolicyText& text) : texts_(text), never_(text.never) {
    for (const AgentEntry& entry : text.agents) {
      auto rules = std::make_unique<RulesOfAgent>(never_, entry, texts_);
      if (is_agent_name(entry.pattern)) {
        exact_agents_.push_back(entry.pattern);
        exact_.emplace(entry.pattern, std::move(rules));
      } else {
        globs_.emplace_back(entry.pattern, std::move(rules));
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
  std::size_t rule_count() const noexcept override { return texts_.places.size(); }

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
  RuleTexts texts_;
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

std::shared_ptr<const Policy> compile(const PolicyText& text) {
  return std::make_shared<const CompiledPolicy>(text);
}

std::shared_ptr<const Policy> empty_policy() { return std::make_shared<const EmptyPolicy>(); }

}  // namespace sluice::allowlists
