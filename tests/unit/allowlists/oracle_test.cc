// The fast matcher against a slow one that reads like the documentation.
#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "allowlists/address_guard.h"
#include "policies.h"

namespace sluice::allowlists {
namespace {

struct PlainRule {
  bool deny = false;
  std::string subject;  // "any", a host pattern, "/regex/", or a range
  std::vector<std::uint16_t> ports;
  std::string tls;
  bool ech_deny = false;
  int line = 0;

  bool is_regex() const { return subject.starts_with('/'); }
  bool is_range() const { return !is_regex() && subject.find('/') != std::string::npos; }
  bool has_port(std::uint16_t port) const {
    if (!ports.empty()) return std::count(ports.begin(), ports.end(), port) > 0;
    return deny || port == 80 || port == 443;
  }
  // How specific the match is; nothing where the host does not match.
  std::optional<int> specificity(const std::string& host) const {
    if (is_range()) return {};
    if (subject == "any") return 0;
    if (is_regex()) {
      static std::map<std::string, std::regex> compiled;
      const auto [regex, added] =
          compiled.try_emplace(subject, subject.substr(1, subject.size() - 2), std::regex::icase);
      return std::regex_match(host, regex->second) ? std::optional(1) : std::nullopt;
    }
    if (subject == host) return 1000;
    const bool below = subject.starts_with("*.");
    const std::string suffix = below ? subject.substr(1) : subject;  // ".example.com"
    if (!suffix.starts_with('.')) return {};
    if (host.size() > suffix.size() && host.ends_with(suffix))
      return static_cast<int>(suffix.size());
    if (!below && '.' + host == suffix) return static_cast<int>(suffix.size());
    return {};
  }
  std::optional<int> specificity(const IpAddress& address) const {
    const auto range = is_range() ? Cidr::parse(subject) : std::nullopt;
    if (!range || !range->contains(address)) return {};
    return range->length;
  }
  std::string yaml() const {
    std::string text = "      - {";
    if (subject == "any") {
      text += "any: true";
    } else if (is_regex()) {
      text += "host_regex: '" + subject.substr(1, subject.size() - 2) + '\'';
    } else {
      text += (is_range() ? "cidr: \"" : "host: \"") + subject + "\", public_suffix: true";
      if (is_range()) text.resize(text.size() - std::string(", public_suffix: true").size());
    }
    for (std::size_t i = 0; i < ports.size(); ++i) {
      text += (i == 0 ? ", ports: [" : ", ") + std::to_string(ports[i]);
    }
    if (!ports.empty()) text += ']';
    if (!tls.empty()) text += ", tls: \"" + tls + '"';
    if (ech_deny) text += ", ech: deny";
    return text + "}\n";
  }
};

std::string told(const Decision& decision) {
  if (!decision) return summary(decision);
  std::string text = summary(decision) + " tls " + std::to_string(static_cast<int>(decision.tls)) +
                     " ech " + std::to_string(decision.refuse_ech);
  if (decision.would_deny) text += " would " + std::string(reason_name(*decision.would_deny));
  return text;
}

std::string at(const PlainRule& rule) { return " allow.yaml:" + std::to_string(rule.line); }

// What a level says, from the most specific to the least; "" where no rule matches.
template <class Subject>
std::string by_levels(const std::vector<PlainRule>& rules, const Subject& subject,
                      std::uint16_t port, const std::string& allowed) {
  std::set<int, std::greater<>> levels;
  for (const PlainRule& rule : rules) {
    if (const auto level = rule.specificity(subject)) levels.insert(*level);
  }
  for (const int level : levels) {
    const PlainRule* first = nullptr;
    const PlainRule* denied = nullptr;
    const PlainRule* listed = nullptr;
    bool any_allow = false;
    int tls = 2;
    bool ech = false;
    for (const PlainRule& rule : rules) {
      if (rule.specificity(subject) != level) continue;
      if (first == nullptr) first = &rule;
      any_allow = any_allow || !rule.deny;
      if (!rule.has_port(port)) continue;
      if (rule.deny && denied == nullptr) denied = &rule;
      if (rule.deny) continue;
      if (listed == nullptr) listed = &rule;
      const std::string mode = !rule.tls.empty() ? rule.tls : port == 443 ? "require" : "match";
      tls = std::min(tls, mode == "require" ? 0 : mode == "match" ? 1 : 2);
      ech = ech || rule.ech_deny;
    }
    if (denied != nullptr) return "deny denied" + at(*denied);
    if (listed != nullptr) {
      return "allow " + allowed + at(*listed) + " tls " + std::to_string(tls) + " ech " +
             std::to_string(ech);
    }
    if (any_allow) return "deny port_not_allowed" + at(*first);
  }
  return "";
}

// What becomes of it in report mode.
std::string relaxed(const std::string& said, std::uint16_t port) {
  for (const std::string reason : {"not_listed", "port_not_allowed"}) {
    const std::string denied = "deny " + reason + ' ';
    if (!said.starts_with(denied)) continue;
    return "report reported " + said.substr(denied.size()) + " tls " +
           std::to_string(port == 443 ? 0 : 1) + " ech 0 would " + reason;
  }
  return said;
}

std::string naive(const std::vector<PlainRule>& never, const std::vector<PlainRule>& rules,
                  const std::string& host, std::uint16_t port) {
  const std::string floor = by_levels(never, host, port, "");
  if (!floor.empty()) return "deny never" + floor.substr(floor.rfind(' '));
  const std::string said = by_levels(rules, host, port, "listed");
  return said.empty() ? "deny not_listed default" : said;
}

// For addresses that embed no other.
std::string naive(const std::vector<PlainRule>& never, const std::vector<PlainRule>& rules,
                  const IpAddress& address, std::uint16_t port) {
  const AddressClass is = classify(address);
  if (is == AddressClass::forbidden) return "deny address_forbidden default";
  for (const PlainRule& rule : never) {
    if (rule.subject == "any" && rule.has_port(port)) return "deny never" + at(rule);
  }
  const std::string floor = by_levels(never, address, port, "");
  if (!floor.empty()) return "deny never" + floor.substr(floor.rfind(' '));
  const std::string said = by_levels(rules, address, port, "listed_cidr");
  if (!said.empty()) return said;
  return is == AddressClass::open ? "deny not_listed default" : "deny address_private default";
}

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
    std::string text = one_of(labels);
    for (std::size_t i = below(4); i > 0; --i) text += '.' + one_of(labels);
    return text;
  }
  std::uint16_t port() {
    static const std::vector<std::uint16_t> ports = {22, 80, 443, 8443, 65535};
    return one_of(ports);
  }
  IpAddress address() {
    static const std::vector<std::string> texts = {
        "10.0.0.1",  "10.0.1.1",    "10.1.0.1",      "11.0.0.1", "11.0.1.1",  "12.0.0.1",
        "127.0.0.1", "2001:db8::1", "2001:db8:1::1", "2600::1",  "2600:1::1", "169.254.1.1"};
    return ip(one_of(texts));
  }
  std::string range() {
    const IpAddress around = address();
    static const std::vector<std::uint8_t> v4 = {5, 7, 8, 16, 24, 32};
    static const std::vector<std::uint8_t> v6 = {13, 16, 32, 47, 48, 128};
    return Cidr::around(around, around.is_v4() ? one_of(v4) : one_of(v6)).to_string();
  }
  std::string regex() {
    static const std::vector<std::string> regexes = {"/.*/",    "/a.*/",       "/.*B/",
                                                     "/[ab]+/", "/(a|b)\\.c/", "/.*c.{3}/"};
    return one_of(regexes);
  }
  PlainRule rule(bool deny) {
    PlainRule made{.deny = deny};
    const std::size_t kind = below(11);
    made.subject = kind == 0  ? "any"
                   : kind < 4 ? range()
                   : kind > 9 ? regex()
                   : kind < 6 ? name()
                   : kind < 8 ? "*." + name()
                              : '.' + name();
    for (std::size_t i = below(3); i > 0; --i) made.ports.push_back(port());
    static const std::vector<std::string> modes = {"", "", "require", "match", "off"};
    if (!deny) made.tls = one_of(modes);
    made.ech_deny = !deny && made.tls != "off" && below(4) == 0;
    return made;
  }
  std::vector<PlainRule> rules(std::size_t count, bool deny, int first_line) {
    std::vector<PlainRule> made;
    for (std::size_t i = 0; i < count; ++i) {
      made.push_back(rule(deny));
      made.back().line = first_line + static_cast<int>(i);
    }
    return made;
  }

 private:
  std::mt19937 random_;
};

struct Generated {
  std::vector<PlainRule> never;
  std::vector<PlainRule> rules;  // of coder-1 and of the group it may use
  bool report = false;
  std::string yaml;

  std::string decide(const IpAddress& address, std::uint16_t port) const {
    const std::string said = naive(never, rules, address, port);
    if (!report || !said.starts_with("deny port_not_allowed")) {
      return report ? relaxed(said, port) : said;
    }
    // Then the guard has the last word, which knows only rules that list the port.
    std::vector<PlainRule> listed;
    std::copy_if(rules.begin(), rules.end(), std::back_inserter(listed),
                 [&](const PlainRule& rule) { return rule.has_port(port); });
    const std::string guarded = naive(never, listed, address, port);
    const bool passes = guarded.starts_with("allow") || guarded.starts_with("deny not_listed");
    return passes ? relaxed(said, port) : guarded;
  }
  std::string decide(const std::string& host, std::uint16_t port) const {
    const std::string said = naive(never, rules, host, port);
    return report ? relaxed(said, port) : said;
  }
};

Generated generate(Generator& generator) {
  Generated made{.report = generator.below(4) == 0};
  made.never = generator.rules(generator.below(4), true, 3);
  made.yaml = made.never.empty() ? "version: 1\nnever: []\n" : "version: 1\nnever:\n";
  for (const PlainRule& rule : made.never) made.yaml += rule.yaml();
  int line = 2 + static_cast<int>(made.never.size());
  const auto shared = generator.rules(generator.below(4), false, line + 3);
  if (!shared.empty()) {
    made.yaml += "groups:\n  shared:\n";
    for (const PlainRule& rule : shared) made.yaml += rule.yaml();
    line += 2 + static_cast<int>(shared.size());
    made.rules = shared;
  }
  made.yaml += "agents:\n  coder-1:\n";
  made.yaml += std::string("    mode: ") + (made.report ? "report\n" : "enforce\n");
  made.yaml += std::string("    use: [") + (shared.empty() ? "" : "group:shared") + "]\n";
  line += 4;
  const bool deny_first = generator.below(2) == 0;
  for (const bool deny : {deny_first, !deny_first}) {
    const auto list = generator.rules(generator.below(deny ? 7 : 14), deny, line + 2);
    made.yaml += std::string(deny ? "    deny:" : "    allow:") + (list.empty() ? " []\n" : "\n");
    for (const PlainRule& rule : list) made.yaml += rule.yaml();
    made.rules.insert(made.rules.end(), list.begin(), list.end());
    line += 1 + static_cast<int>(list.size());
  }
  return made;
}

// What refuses an address that a name led to, whatever longer prefixes allow; "" for nothing.
std::string any_deny(const Generated& made, const IpAddress& address, std::uint16_t port) {
  std::vector<PlainRule> denies;
  std::copy_if(made.rules.begin(), made.rules.end(), std::back_inserter(denies),
               [&](const PlainRule& rule) { return rule.deny && rule.is_range(); });
  const std::string said = naive(made.never, denies, address, port);
  const bool refused = said.starts_with("deny denied") || said.starts_with("deny never") ||
                       said.starts_with("deny address_forbidden");
  return refused ? said : "";
}

TEST(Policy, DecidesAsTheSlowMatcherDoes) {
  Generator generator(20260102);
  for (int round = 0; round < 1000; ++round) {
    const Generated made = generate(generator);
    const auto policy = policy_of(made.yaml);
    const AgentRules& rules = policy->for_agent("coder-1");
    for (int i = 0; i < 100; ++i) {
      const std::uint16_t port = generator.port();
      if (generator.below(3) == 0) {
        const IpAddress address = generator.address();
        ASSERT_EQ(told(rules.decide({Host::of(address), port})), made.decide(address, port))
            << address.to_string() << ' ' << port << '\n'
            << made.yaml;
        continue;
      }
      const std::string name = generator.name();
      const Host host = *Host::parse(name);
      ASSERT_EQ(told(rules.decide({host, port})), made.decide(name, port))
          << name << ' ' << port << '\n'
          << made.yaml;
    }
  }
}

TEST(Policy, AnswersDnsExactlyWhereSomePortIsAllowed) {
  Generator generator(7);
  for (int round = 0; round < 200; ++round) {
    const Generated made = generate(generator);
    const auto policy = policy_of(made.yaml);
    const AgentRules& rules = policy->for_agent("coder-1");
    for (int i = 0; i < 20; ++i) {
      const std::string name = generator.name();
      bool expected = false;
      constexpr std::array<std::uint16_t, 6> ports = {22, 80, 443, 8443, 65535, 7};
      for (const std::uint16_t port : ports) {
        expected = expected || !made.decide(name, port).starts_with("deny");
      }
      ASSERT_EQ(bool{rules.decide_any_port(*Host::parse(name))}, expected) << name << '\n'
                                                                           << made.yaml;
    }
  }
}

TEST(AddressGuard, OfAPolicyJudgesAsTheSlowOneDoes) {
  Generator generator(11);
  for (int round = 0; round < 200; ++round) {
    const Generated made = generate(generator);
    const auto policy = policy_of(made.yaml);
    const AgentRules& rules = policy->for_agent("coder-1");
    for (int i = 0; i < 20; ++i) {
      const IpAddress address = generator.address();
      const std::uint16_t port = generator.port();
      const bool local = generator.below(4) == 0;
      // Rules that do not list the port are as if they were not there.
      std::vector<PlainRule> matching;
      std::copy_if(made.rules.begin(), made.rules.end(), std::back_inserter(matching),
                   [&](const PlainRule& rule) { return rule.has_port(port); });
      std::string expected = naive(made.never, matching, address, port);
      const bool open = classify(address) == AddressClass::open && !local;
      if (expected == "deny not_listed default" || expected == "deny address_private default") {
        expected = open ? "allow" : "deny address_private default";
      }
      const Target literal{Host::of(address), port};
      const Decision decision = rules.judge_address(literal, address, OnThisMachine(local));
      const std::string by_name = any_deny(made, address, port);
      const Target name{*Host::parse("name.test"), port};
      ASSERT_EQ(told(rules.judge_address(name, address, OnThisMachine(local))),
                by_name.empty() ? told(decision) : by_name)
          << address.to_string() << ' ' << port << '\n'
          << made.yaml;
      ASSERT_TRUE(told(decision).starts_with(expected))
          << told(decision) << " for " << address.to_string() << ' ' << port << '\n'
          << made.yaml;
    }
  }
}

}  // namespace
}  // namespace sluice::allowlists
