#include "allowlists/tools/mentions.h"

#include <re2/re2.h>

#include <algorithm>
#include <span>
#include <string>
#include <tuple>
#include <unordered_set>

#include "allowlists/address_guard.h"
#include "allowlists/regex_index.h"
#include "allowlists/rule_index.h"

namespace sluice::allowlists {
namespace {

// In the order in which they are asked.
enum class Section : std::uint8_t { never_name, never_range, own_name, own_range };

// Where a rule stands among those that speak of the target.
struct Place {
  Section section = Section::never_name;
  std::size_t part = 0;  // which of the target's addresses, for ranges
  int depth = 0;         // the more specific the larger

  friend bool operator==(const Place&, const Place&) = default;
};

struct Placed {
  Mention mention;
  Place place;
};

struct Said {
  enum class Kind : std::uint8_t { none, allow, deny, wrong_port };
  Kind kind = Kind::none;
  const Rule* by = nullptr;
};
using Kind = Said::Kind;

// What becomes of one address.
struct Answer {
  bool passes = false;
  bool guarded = false;  // the address guard refuses it for want of a rule
  const Rule* by = nullptr;
};

constexpr int any_depth = 0;
constexpr int regex_depth = 1;
constexpr int exact_depth = 1000;  // suffixes: their length and 2

std::optional<int> depth_of(const Rule& rule, const std::string& name) {
  switch (rule.scope) {
    case Scope::exact:
      return rule.name == name ? std::optional(exact_depth) : std::nullopt;
    case Scope::tree:
      if (rule.name == name) return static_cast<int>(name.size()) + 2;
      [[fallthrough]];
    case Scope::below: {
      const bool fits = name.ends_with('.' + rule.name);
      return fits ? std::optional(static_cast<int>(rule.name.size()) + 2) : std::nullopt;
    }
    case Scope::regex:
      return RE2::FullMatch(name, RE2(rule.name, regex_options())) ? std::optional(regex_depth)
                                                                   : std::nullopt;
    case Scope::any:
      return any_depth;
    case Scope::cidr:
      return std::nullopt;
  }
  return std::nullopt;
}

bool lists(const Rule& rule, std::uint16_t port) {
  const auto ports = ports_of(rule);
  return ports.empty() || std::binary_search(ports.begin(), ports.end(), port);
}

// The addresses that are judged for the target: all of an address's own and embedded ones, or the
// two of this machine's loopback.
std::vector<IpAddress> parts_of(const Host& host) {
  if (!host.is_name()) {
    std::vector<IpAddress> parts = {host.address()};
    const Embedded embedded = embedded_ipv4(host.address());
    parts.insert(parts.end(), embedded.address.begin(), embedded.address.begin() + embedded.count);
    return parts;
  }
  if (host.name() != own_loopback_name) return {};
  return {*IpAddress::parse("127.0.0.1"), *IpAddress::parse("::1")};
}

class Finder {
 public:
  Finder(const PolicyText& text, const AgentEntry& entry, const Target& target)
      : entry_(entry), target_(target), parts_(parts_of(target.host)) {
    for (const Rule& rule : text.never) place(rule, Section::never_name, Section::never_range);
    for (const Rule& rule : entry.rules) place(rule, Section::own_name, Section::own_range);
    std::sort(placed_.begin(), placed_.end(), [](const Placed& a, const Placed& b) {
      const auto key = [](const Placed& one) {
        return std::tuple(one.place.section, one.place.part, -one.place.depth,
                          one.mention.rule->id);
      };
      return key(a) < key(b);
    });
  }

  Mentions find() const {
    Mentions found{.entry = &entry_};
    const Rule* by = target_.host.is_name() ? decide_name() : decide_address(parts_).by;
    std::unordered_set<const Rule*> seen;
    std::size_t level = 0;
    for (std::size_t i = 0; i < placed_.size(); ++i) {
      if (i > 0 && placed_[i].place != placed_[i - 1].place) ++level;
      // A range may hold several of the target's addresses.
      if (!seen.insert(placed_[i].mention.rule).second) continue;
      if (placed_[i].mention.rule == by) found.decides = found.rules.size();
      found.rules.push_back(placed_[i].mention);
      found.rules.back().level = level;
    }
    return found;
  }

 private:
  void place(const Rule& rule, Section by_name, Section by_range) {
    const Mention mention{&rule, by_name == Section::never_name, lists(rule, target_.port)};
    if (rule.scope == Scope::cidr) {
      for (std::size_t part = 0; part < parts_.size(); ++part) {
        if (!rule.range.contains(parts_[part])) continue;
        placed_.push_back({mention, {by_range, part, rule.range.length}});
      }
      return;
    }
    if (!target_.host.is_name()) {
      if (mention.never && rule.scope == Scope::any) placed_.push_back({mention, {by_name}});
      return;
    }
    // What opens this machine's loopback is a range, whatever is said of any host.
    const bool own_loopback = target_.host.name() == own_loopback_name;
    if (own_loopback && !mention.never && rule.scope == Scope::any) return;
    if (const auto depth = depth_of(rule, target_.host.name())) {
      placed_.push_back({mention, {by_name, 0, *depth}});
    }
  }

  static Said said_by(std::span<const Placed> level) {
    Said said;
    for (const Placed& one : level) {
      const Rule* rule = one.mention.rule;
      const bool allow = rule->effect == Effect::allow;
      if (one.mention.has_port && !allow) return {Kind::deny, rule};
      if (one.mention.has_port && said.kind != Kind::allow) said = {Kind::allow, rule};
      if (allow && said.kind == Kind::none) said = {Kind::wrong_port, level.front().mention.rule};
    }
    return said;
  }

  // What the most specific level of a section says that says anything.
  Said said(Section section, std::size_t part, OtherPorts others) const {
    for (std::size_t begin = 0, end = 0; begin < placed_.size(); begin = end) {
      while (end < placed_.size() && placed_[end].place == placed_[begin].place) ++end;
      if (placed_[begin].place.section != section || placed_[begin].place.part != part) continue;
      const Said made = said_by(std::span(placed_).subspan(begin, end - begin));
      if (made.kind == Kind::wrong_port && others == OtherPorts::are_no_match) continue;
      if (made.kind != Kind::none) return made;
    }
    return {};
  }

  const Rule* decide_name() const {
    const Said never = said(Section::never_name, 0, OtherPorts::decide);
    if (never.kind == Kind::deny) return never.by;
    const Said named = said(Section::own_name, 0, OtherPorts::decide);
    if (target_.host.name() != own_loopback_name || named.kind == Kind::deny) return named.by;
    const Answer first = decide_address({parts_[0]}, 0);
    if (first.passes) return first.by;
    const Answer second = decide_address({parts_[1]}, 1);
    return second.passes || first.guarded ? second.by : first.by;
  }

  // `parts`: an address and those embedded in it; `at`: the number of the first in parts_.
  Answer decide_address(const std::vector<IpAddress>& parts, std::size_t at = 0) const {
    if (classify(parts.front()) == AddressClass::forbidden) return {};
    const Said floor = said(Section::never_name, 0, OtherPorts::decide);
    if (floor.kind == Kind::deny) return {.by = floor.by};
    if (const Rule* by = denied_by(Section::never_range, parts.size(), at)) return {.by = by};
    bool guarded = false;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Said one = said(Section::own_range, at + i, OtherPorts::are_no_match);
      guarded = guarded || (own_class(parts[i]) != AddressClass::open && one.kind != Kind::allow);
    }
    const bool report = entry_.mode == Mode::report;
    const Said made = said(Section::own_range, at, OtherPorts::decide);
    if (made.kind == Kind::wrong_port && !(guarded && report)) return {report, false, made.by};
    if (const Rule* by = denied_by(Section::own_range, parts.size(), at)) return {.by = by};
    if (guarded) return {.guarded = true};
    return {made.kind == Kind::allow || report, false, made.by};
  }

  const Rule* denied_by(Section section, std::size_t count, std::size_t at) const {
    for (std::size_t i = 0; i < count; ++i) {
      const Said one = said(section, at + i, OtherPorts::are_no_match);
      if (one.kind == Kind::deny) return one.by;
    }
    return nullptr;
  }

  const AgentEntry& entry_;
  const Target& target_;
  std::vector<IpAddress> parts_;
  std::vector<Placed> placed_;  // the order of Mentions::rules
};

}  // namespace

Mentions mentions_of(const PolicyText& text, std::string_view agent, const Target& target) {
  const AgentEntry* entry = text.entry_for(agent);
  if (entry == nullptr) return {};
  return Finder(text, *entry, target).find();
}

std::vector<std::uint16_t> ports_of(const Rule& rule) {
  std::vector<std::uint16_t> ports = rule.ports;
  if (ports.empty() && rule.effect == Effect::allow) ports = {80, 443};
  std::sort(ports.begin(), ports.end());
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
  return ports;
}

}  // namespace sluice::allowlists
