// What a diff says, against what the two policies answer for thousands of targets.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <regex>
#include <set>

#include "allowlists/address_guard.h"
#include "allowlists/compile.h"
#include "diff_policies.h"

namespace sluice::allowlists {
namespace {

constexpr std::string_view own_name = "host.sluice.internal";
// An entry without rules: what the guard says where there is no entry.
constexpr std::string_view guard_agent = "guard";

class Generator {
 public:
  explicit Generator(std::uint32_t seed) : random_(seed) {}

  std::size_t below(std::size_t end) { return random_() % end; }
  template <class List>
  auto one_of(const List& list) {
    return list[below(list.size())];
  }

  std::string name() {
    static const std::vector<std::string> labels = {"a", "b", "ab", "c"};
    if (below(40) == 0) return std::string(own_name);
    std::string text = one_of(labels);
    for (std::size_t i = below(4); i > 0; --i) text += '.' + one_of(labels);
    return text;
  }
  std::string regex() {
    static const std::vector<std::string> all = {"a.*", "[ab]+\\\\.c", ".*b", "b\\\\..*", "c"};
    return one_of(all);
  }
  std::uint16_t port() {
    static const std::vector<std::uint16_t> ports = {22, 80, 443, 8443, 65535};
    return one_of(ports);
  }
  IpAddress address() {
    static const std::vector<std::string> texts = {
        "10.0.0.1",        "10.0.1.1",        "10.1.0.1",       "11.0.0.1",      "11.0.1.1",
        "12.0.0.1",        "127.0.0.1",       "255.0.0.1",      "0.0.0.1",       "169.254.1.1",
        "2001:db8::1",     "2001:db8:1::1",   "2600::1",        "2600:1::1",     "::1",
        "::ffff:10.0.0.1", "::ffff:12.0.0.1", "64:ff9b::b00:1", "2002:a00:1::1", "2002:c00:1::1",
        "::10.0.1.1",      "fe80::1",         "fd00::1"};
    return *IpAddress::parse(one_of(texts));
  }
  std::string range() {
    const IpAddress around = address();
    static const std::vector<std::uint8_t> v4 = {0, 5, 7, 8, 16, 24, 32};
    static const std::vector<std::uint8_t> v6 = {0, 13, 16, 32, 47, 48, 96, 104, 112, 128};
    const Cidr range = Cidr::around(around, around.is_v4() ? one_of(v4) : one_of(v6));
    const bool synthetic = range.overlaps(*Cidr::parse("198.18.0.0/15")) ||
                           range.overlaps(*Cidr::parse("fd73:6c75:6963::/64"));
    return synthetic ? "11.0.0.0/8" : range.to_string();
  }
  std::string rule(bool deny) {
    const std::size_t kind = below(12);
    std::string subject = "any: true";
    std::string name_text = name();
    if (!deny && name_text == own_name) name_text = "a.b";
    if (kind > 0 && kind < 4) subject = "cidr: \"" + range() + '"';
    if (kind == 4) subject = "host_regex: \"" + regex() + '"';
    if (kind > 4) {
      const std::string prefix = kind < 7 ? "" : kind < 10 ? "*." : ".";
      if (prefix == "." && name_text == own_name) name_text = "a.b";
      subject = "host: \"" + prefix + name_text + "\", public_suffix: true";
    }
    std::string text = "      - {" + subject;
    for (std::size_t i = below(3), n = 0; n < i; ++n) {
      text += (n == 0 ? ", ports: [" : ", ") + std::to_string(port());
      if (n + 1 == i) text += ']';
    }
    static const std::vector<std::string> modes = {"", "", "", "require", "match", "off"};
    const std::string mode = deny ? "" : one_of(modes);
    if (!mode.empty()) text += ", tls: \"" + mode + '"';
    if (!deny && mode != "off" && below(4) == 0) text += ", ech: deny";
    return text + "}\n";
  }
  std::vector<std::string> rules(std::size_t count, bool deny) {
    std::vector<std::string> made;
    for (std::size_t i = 0; i < count; ++i) made.push_back(rule(deny));
    return made;
  }
  std::string agent() {
    static const std::vector<std::string> parts = {"a", "b", "ab", "-", "1", "x"};
    std::string text = one_of(std::vector<std::string>{"a", "b", "x", "ab"});
    for (std::size_t i = below(4); i > 0; --i) text += one_of(parts);
    return text;
  }
  std::string pattern() {
    static const std::vector<std::string> all = {"*",  "a*",  "ab*", "*b", "a*b", "b*",
                                                 "*1", "a*1", "a",   "ab", "b-1", "x"};
    return one_of(all);
  }

 private:
  std::mt19937 random_;
};

struct Entry {
  bool report = false;
  std::vector<std::string> allow;
  std::vector<std::string> deny;
};

struct Plain {
  std::vector<std::string> never;
  std::map<std::string, Entry> agents;

  std::string yaml() const {
    const auto list = [](const std::string& key, const std::vector<std::string>& rules) {
      std::string text = key + (rules.empty() ? " []\n" : "\n");
      for (const std::string& rule : rules) text += rule;
      return text;
    };
    std::string text = "version: 1\n" + list("never:", never) + "agents:\n";
    for (const auto& [pattern, entry] : agents) {
      text += "  \"" + pattern + "\":\n" + (entry.report ? "    mode: report\n" : "");
      text += list("    allow:", entry.allow) + list("    deny:", entry.deny);
    }
    return text + "  " + std::string(guard_agent) + ": {allow: []}\n";
  }
};

Entry generate_entry(Generator& generator) {
  return {generator.below(6) == 0, generator.rules(generator.below(9), false),
          generator.rules(generator.below(5), true)};
}

Plain generate(Generator& generator) {
  Plain made;
  made.never = generator.rules(generator.below(3), true);
  for (std::size_t i = 1 + generator.below(4); i > 0; --i) {
    made.agents[generator.pattern()] = generate_entry(generator);
  }
  return made;
}

void mutate(Generator& generator, std::vector<std::string>& rules, bool deny) {
  if (generator.below(2) == 0) rules.push_back(generator.rule(deny));
  if (!rules.empty() && generator.below(2) == 0) {
    rules.erase(rules.begin() + static_cast<std::ptrdiff_t>(generator.below(rules.size())));
  }
}

Plain changed(Generator& generator, Plain policy) {
  if (generator.below(4) == 0) return generate(generator);
  if (generator.below(3) == 0) mutate(generator, policy.never, true);
  for (auto& [pattern, entry] : policy.agents) {
    mutate(generator, entry.allow, false);
    mutate(generator, entry.deny, true);
    if (generator.below(8) == 0) entry.report = !entry.report;
  }
  if (generator.below(3) == 0) policy.agents[generator.pattern()] = generate_entry(generator);
  if (generator.below(4) == 0) policy.agents.erase(policy.agents.begin());
  return policy;
}

// Nothing where it does not load, as with two globs of equal rank.
std::optional<PolicyText> read(const Plain& policy) {
  const std::vector<Source> sources = {{"p.yaml", policy.yaml()}};
  auto text = read_text(sources);
  return text ? std::optional(std::move(text->text)) : std::nullopt;
}

using Changes = std::multiset<DiffChange>;

// As policy.h has it: what the second decision opens, closes or changes.
Changes expected(const Decision& old, const Decision& now) {
  if (!old && !now) return {};
  if (!old) return {DiffChange::opens};
  if (!now) return {DiffChange::closes};
  if (now.tls > old.tls || (old.refuse_ech && !now.refuse_ech)) return {DiffChange::opens};
  const bool same = now.tls == old.tls && now.refuse_ech == old.refuse_ech;
  if (same && now.verdict == old.verdict) return {};
  return {DiffChange::changes};
}

PolicyText without_any(PolicyText text) {
  std::erase_if(text.never, [](const Rule& rule) { return rule.scope == Scope::any; });
  return text;
}

class World {
 public:
  World(Plain before, Plain after, PolicyText old_text, PolicyText new_text)
      : plain_{std::move(before), std::move(after)},
        text_{std::move(old_text), std::move(new_text)},
        policy_{compile(text_[0]), compile(text_[1])},
        guard_{compile(without_any(text_[0])), compile(without_any(text_[1]))},
        diff_(diff(text_[0], text_[1], std::nullopt)) {}

  std::string show() const {
    return plain_[0].yaml() + "-----\n" + plain_[1].yaml() + diff_text(diff_);
  }

  std::vector<const DiffStatement*> statements_of(const std::string& agent) const {
    const auto pattern = [&](std::size_t side) -> std::optional<std::string> {
      const AgentEntry* entry = text_[side].entry_for(agent);
      return entry == nullptr ? std::nullopt : std::optional(entry->pattern);
    };
    const auto from = pattern(0);
    const auto to = pattern(1);
    const bool exact = from == agent || to == agent;
    std::vector<const DiffStatement*> found;
    for (const AgentDiff& group : diff_.agents) {
      for (const DiffAgents& agents : group.agents) {
        const bool is_it =
            exact ? agents.headline == agent
                  : agents.headline != agents.name && agents.from == from && agents.to == to;
        if (!is_it) continue;
        for (const DiffStatement& statement : group.statements) found.push_back(&statement);
      }
    }
    return found;
  }

  // An example has the entries that are told of it.
  void check_examples() const {
    for (const AgentDiff& group : diff_.agents) {
      for (const DiffAgents& agents : group.agents) {
        for (std::size_t side = 0; side < 2; ++side) {
          const AgentEntry* entry = text_[side].entry_for(agents.example);
          const auto& told = side == 0 ? agents.from : agents.to;
          ASSERT_EQ(entry == nullptr, !told.has_value()) << agents.example << '\n' << show();
          if (entry == nullptr) continue;
          ASSERT_EQ(entry->pattern, *told) << agents.example << '\n' << show();
        }
      }
    }
  }

  std::vector<const Rule*> rules_for(const std::string& agent) const {
    std::vector<const Rule*> rules;
    for (const PolicyText& text : text_) {
      for (const Rule& rule : text.never) rules.push_back(&rule);
      const AgentEntry* entry = text.entry_for(agent);
      if (entry == nullptr) continue;
      for (const Rule& rule : entry->rules) rules.push_back(&rule);
    }
    return rules;
  }

  // The subject of the cell that `name` is in.
  static std::string cell_of(const std::string& name, const std::vector<const Rule*>& rules) {
    std::string nearest;
    for (const Rule* rule : rules) {
      if (rule->scope > Scope::tree) continue;
      if (rule->scope != Scope::below && rule->name == name) return name;
      if (rule->scope == Scope::exact || !name.ends_with('.' + rule->name)) continue;
      if (rule->name.size() > nearest.size()) nearest = rule->name;
    }
    if (name == own_name) return name;
    return nearest.empty() ? "any other name" : "*." + nearest;
  }

  static bool matches(const std::string& pattern, const std::string& name) {
    return std::regex_match(name, std::regex(pattern, std::regex::ECMAScript | std::regex::icase));
  }

  void check_name(const std::string& agent, const std::string& name, std::uint16_t port) const {
    const Target target{*Host::parse(name), port};
    const Decision old = policy_[0]->for_agent(agent).decide(target);
    const Decision now = policy_[1]->for_agent(agent).decide(target);
    const auto rules = rules_for(agent);
    const std::string cell = cell_of(name, rules);
    const bool by_rule = cell != name && std::any_of(rules.begin(), rules.end(), [&](auto* rule) {
                           return rule->scope == Scope::regex && matches(rule->name, name);
                         });
    Changes exact;
    Changes loose;
    for (const DiffStatement* told : statements_of(agent)) {
      if (!has_port(told->ports, port)) continue;
      if (told->kind == DiffKind::regex) {
        const std::string& subject = told->subject;
        const bool alone =
            subject.starts_with('/') && matches(subject.substr(1, subject.size() - 2), name);
        if (alone || subject == cell + " that a host_regex matches") loose.insert(told->change);
      } else if (told->subject == cell) {
        exact.insert(told->change);
        if (!by_rule) {
          EXPECT_EQ(told->before.rule, old.rule);
          EXPECT_EQ(told->after.rule, now.rule);
          EXPECT_EQ(told->before.verdict, old.verdict);
          EXPECT_EQ(told->after.verdict, now.verdict);
        }
      }
    }
    const auto want = expected(old, now);
    const auto where = [&] {
      return agent + ' ' + name + ' ' + std::to_string(port) + " in " + cell + '\n' + show();
    };
    if (!by_rule) {
      ASSERT_EQ(exact, want) << where();
      return;
    }
    loose.insert(exact.begin(), exact.end());
    for (const DiffChange change : want) {
      if (change == DiffChange::changes) continue;
      ASSERT_TRUE(loose.contains(change)) << where();
    }
  }

  // Public, embedding nothing, and in no range of a rule that speaks to the agent.
  bool is_plain(const std::string& agent, const IpAddress& address) const {
    const auto covers = [&](const Rule& rule) {
      return rule.scope == Scope::cidr && rule.range.contains(address);
    };
    for (const PolicyText& text : text_) {
      if (std::any_of(text.never.begin(), text.never.end(), covers)) return false;
      const AgentEntry* entry = text.entry_for(agent);
      if (entry == nullptr) continue;
      if (std::any_of(entry->rules.begin(), entry->rules.end(), covers)) return false;
    }
    return classify(address) == AddressClass::open && embedded_ipv4(address).count == 0;
  }

  bool holds(const DiffStatement& told, const std::string& agent, const IpAddress& address) const {
    if (told.kind == DiffKind::any_other_address) return is_plain(agent, address);
    if (told.kind != DiffKind::range) return false;
    if (const auto range = Cidr::parse(told.subject)) return range->contains(address);
    const std::size_t dash = told.subject.find('-');
    const auto first = IpAddress::parse(told.subject.substr(0, dash));
    const auto last = IpAddress::parse(told.subject.substr(dash + 1));
    if (!first || !last) ADD_FAILURE() << told.subject;
    return first->is_v4() == address.is_v4() && *first <= address && address <= *last;
  }

  // The guard, where the name that resolves to the address is allowed.
  const AgentRules& guard(std::size_t side, const std::string& agent) const {
    return guard_[side]->for_agent(policy_[side]->knows(agent) ? agent : guard_agent);
  }

  void check_address(const std::string& agent, const IpAddress& address, std::uint16_t port) const {
    const Target target{Host::of(address), port};
    Changes literal;
    Changes resolved;
    for (const DiffStatement* told : statements_of(agent)) {
      if (!has_port(told->ports, port) || !holds(*told, agent, address)) continue;
      if (told->via != DiffVia::resolved) literal.insert(told->change);
      if (told->via != DiffVia::literal) resolved.insert(told->change);
    }
    const auto where = [&] {
      return agent + ' ' + address.to_string() + ' ' + std::to_string(port) + '\n' + show();
    };
    ASSERT_EQ(literal, expected(policy_[0]->for_agent(agent).decide(target),
                                policy_[1]->for_agent(agent).decide(target)))
        << where();
    if (!policy_[0]->knows(agent) && !policy_[1]->knows(agent)) return;
    const Target name{*Host::parse("name.test"), port};
    Decision old = guard(0, agent).judge_address(name, address, OnThisMachine::no);
    Decision now = guard(1, agent).judge_address(name, address, OnThisMachine::no);
    old.tls = now.tls = TlsMode::require;
    old.refuse_ech = now.refuse_ech = false;
    ASSERT_EQ(resolved, expected(old, now)) << where();
  }

 private:
  std::array<Plain, 2> plain_;
  std::array<PolicyText, 2> text_;
  std::array<std::shared_ptr<const Policy>, 2> policy_;
  std::array<std::shared_ptr<const Policy>, 2> guard_;
  PolicyDiff diff_;
};

TEST(PolicyDiff, SaysOfEveryTargetWhatTheTwoPoliciesAnswer) {
  Generator generator(20260103);
  int compared = 0;
  for (int round = 0; round < 160; ++round) {
    const Plain before = generate(generator);
    const Plain after = changed(generator, before);
    auto old_text = read(before);
    auto new_text = read(after);
    if (!old_text || !new_text) continue;
    ++compared;
    const World world(before, after, std::move(*old_text), std::move(*new_text));
    world.check_examples();
    for (int i = 0; i < 60; ++i) {
      const std::string agent = generator.agent();
      if (agent == guard_agent) continue;
      if (generator.below(3) == 0) {
        world.check_address(agent, generator.address(), generator.port());
      } else {
        world.check_name(agent, generator.name(), generator.port());
      }
      if (testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(compared, 100);
}

}  // namespace
}  // namespace sluice::allowlists
