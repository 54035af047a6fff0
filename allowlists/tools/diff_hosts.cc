#include "allowlists/tools/diff_hosts.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "allowlists/host.h"
#include "allowlists/tools/diff_regexes.h"

namespace sluice::allowlists {
namespace {

using Kind = Outcome::Kind;
using Layers = std::array<DiffRules, layer_count>;
using Said = std::tuple<Effect, std::vector<std::uint16_t>, std::optional<TlsMode>, bool>;

constexpr std::array<DiffLayer, 2> floor_layers = {never_before, never_after};
constexpr std::size_t longest_name = 253;
constexpr std::string_view label_bytes = "abcdefghijklmnopqrstuvwxyz0123456789-_";

// The rules of all four layers that are for one name and for the names below it.
struct Named {
  Layers exact;
  Layers apex;
  Layers below;
  bool is_host = false;    // a cell of its own: an exact rule, or the apex of a tree
  bool has_below = false;  // the names below it are a cell
};

// What decides about the names of one cell, most specific first.
struct Levels {
  std::array<std::vector<const DiffRules*>, layer_count> of;
};

// No rule of the level leaves a port to a less specific one.
bool settles(const DiffRules& level) {
  return std::any_of(level.begin(), level.end(), [](const Rule* rule) {
    return rule->effect == Effect::allow || rule->ports.empty();
  });
}

class HostDiff {
 public:
  explicit HostDiff(const DiffSides& sides)
      : sides_(sides),
        lists_{sides.before.never, sides.after.never, sides.before.own, sides.after.own} {
    names_[own_loopback_name].is_host = true;
    for (const std::size_t layer : {own_before, own_after}) {
      for (const Rule& rule : lists_[layer]) add(layer, rule);
    }
    for (const std::size_t side : {0, 1}) {
      const auto any = sides.floor->any(side);
      any_[floor_layers[side]].assign(any.begin(), any.end());
    }
    add_floor();
    find_exceptions();
  }

  void tell(std::vector<DiffStatement>& statements) {
    RegexDiff regexes(sides_, any_);
    for (const auto& [name, named] : names_) {
      if (named.is_host) tell_host(name, regexes, statements);
      if (named.has_below) tell_below(name, regexes, statements);
    }
    const std::string other = fresh_name("");
    const DiffStatement model{.kind = DiffKind::any_other_name, .subject = "any other name"};
    tell_many(Levels{}, other, model, regexes, statements);
    regexes.tell_changed(statements);
  }

 private:
  void add(std::size_t layer, const Rule& rule) {
    if (rule.scope == Scope::any) any_[layer].push_back(&rule);
    if (rule.scope > Scope::tree) return;
    Named& named = names_[rule.name];
    if (rule.scope == Scope::exact) named.exact[layer].push_back(&rule);
    if (rule.scope == Scope::tree) named.apex[layer].push_back(&rule);
    if (rule.scope != Scope::exact) named.below[layer].push_back(&rule);
    named.is_host = named.is_host || rule.scope != Scope::below;
    named.has_below = named.has_below || rule.scope != Scope::exact;
  }

  // The names of never that may be answered differently, and those that divide the names of which
  // something is told: with thousands of names and of agents, all others would be most of the work.
  void add_floor() {
    std::vector<std::string_view> told;
    told.reserve(names_.size());
    for (const auto& [name, named] : names_) told.push_back(name);
    if (!other_names_are_alike()) {
      const auto open = sides_.floor->open();
      told.insert(told.end(), open.begin(), open.end());
    }
    std::unordered_set<std::string_view> added;
    for (std::string_view name : told) {
      add_floor_of(name, added);
      const auto at = names_.find(name);
      if (at != names_.end() && at->second.has_below) {
        for (const std::string_view below : sides_.floor->below(name)) add_floor_of(below, added);
      }
      while (name.find('.') != std::string_view::npos) {
        name.remove_prefix(name.find('.') + 1);
        add_floor_of(name, added);
      }
    }
  }

  void add_floor_of(std::string_view name, std::unordered_set<std::string_view>& added) {
    const DiffFloor::Name* floor = sides_.floor->find(name);
    if (floor == nullptr || !added.insert(name).second) return;
    for (const std::size_t side : {0, 1}) {
      for (const Rule* rule : floor->rules[side]) add(floor_layers[side], *rule);
    }
  }

  // Whether both sides answer alike for every name that only `never` names.
  bool other_names_are_alike() const {
    if (!sides_.same_floor || sides_.before.mode != sides_.after.mode) return false;
    const auto for_other_names = [&](DiffLayer layer, auto visit) {
      for (const Rule& rule : lists_[layer]) {
        if (rule.scope == Scope::any || rule.scope == Scope::regex) visit(rule);
      }
    };
    bool any_regex = false;
    std::array<std::vector<Said>, 2> said;
    for (const DiffLayer layer : {own_before, own_after}) {
      for_other_names(layer, [&](const Rule& rule) {
        any_regex = any_regex || rule.scope == Scope::regex;
        said[layer - own_before].emplace_back(rule.effect, rule.ports, rule.tls, rule.refuse_ech);
      });
    }
    return !any_regex && said[0] == said[1];
  }

  // The nearest name above `name` whose names below are a cell.
  std::string_view cell_above(std::string_view name) const {
    for (std::size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.')) {
      name.remove_prefix(dot + 1);
      const auto at = names_.find(name);
      if (at != names_.end() && at->second.has_below) return name;
    }
    return {};
  }

  void find_exceptions() {
    for (const auto& [name, named] : names_) {
      const std::string_view above = cell_above(name);
      if (above.empty()) continue;
      if (named.is_host) exceptions_[above].emplace_back(name);
      if (named.has_below) exceptions_[above].push_back("*." + std::string(name));
    }
    for (auto& [name, except] : exceptions_) std::sort(except.begin(), except.end());
  }

  void add_levels_above(std::string_view name, Levels& levels) const {
    for (name = cell_above(name); !name.empty(); name = cell_above(name)) {
      add_below(names_.find(name)->second, levels);
    }
  }

  static void add_below(const Named& named, Levels& levels) {
    for (std::size_t layer = 0; layer < layer_count; ++layer) {
      if (!named.below[layer].empty()) levels.of[layer].push_back(&named.below[layer]);
    }
  }

  // The ports that may be answered unlike the rest.
  PortCells cells_of(const Levels& levels, const RegexDiff& regexes,
                     std::vector<std::uint16_t> listed = {}) const {
    const auto add_ports = [&](const DiffRules& rules) {
      for (const Rule* rule : rules) {
        const auto ports = listed_ports_of(*rule);
        listed.insert(listed.end(), ports.begin(), ports.end());
      }
    };
    for (std::size_t layer = 0; layer < layer_count; ++layer) {
      bool settled = false;
      for (const DiffRules* level : levels.of[layer]) {
        add_ports(*level);
        settled = settles(*level);
        if (settled) break;
      }
      if (settled) continue;
      const auto& ports = regexes.ports(static_cast<DiffLayer>(layer));
      listed.insert(listed.end(), ports.begin(), ports.end());
      add_ports(any_[layer]);
    }
    // What report mode asks of the bytes depends on the port.
    listed.push_back(443);
    return PortCells(std::move(listed));
  }

  void tell_host(std::string_view name, const RegexDiff& regexes,
                 std::vector<DiffStatement>& statements) const {
    const auto host = Host::parse(name);
    if (!host) return;
    const Named& named = names_.find(name)->second;
    Levels levels;
    for (std::size_t layer = 0; layer < layer_count; ++layer) {
      for (const DiffRules* level : {&named.exact[layer], &named.apex[layer]}) {
        if (!level->empty()) levels.of[layer].push_back(level);
      }
    }
    add_levels_above(name, levels);
    std::vector<std::uint16_t> listed;
    if (name == own_loopback_name) add_loopback_ports(listed);
    compare_ports(
        cells_of(levels, regexes, std::move(listed)), {.subject = std::string(name)},
        [&](std::uint16_t port) {
          return compare(answer_of(sides_.before.rules->decide({*host, port})),
                         answer_of(sides_.after.rules->decide({*host, port})));
        },
        statements);
  }

  void add_loopback_ports(std::vector<std::uint16_t>& listed) const {
    const auto loopback_4 = IpAddress::v4(0x7f000001);
    const auto loopback_6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    for (const auto& list : lists_) {
      for (const Rule& rule : list) {
        if (rule.scope != Scope::cidr) continue;
        if (!rule.range.contains(loopback_4) && !rule.range.contains(loopback_6)) continue;
        const auto ports = listed_ports_of(rule);
        listed.insert(listed.end(), ports.begin(), ports.end());
      }
    }
    for (const DiffRules& any : any_) {
      for (const Rule* rule : any) {
        listed.insert(listed.end(), rule->ports.begin(), rule->ports.end());
      }
    }
  }

  void tell_below(std::string_view name, RegexDiff& regexes,
                  std::vector<DiffStatement>& statements) const {
    const std::string fresh = fresh_name("." + std::string(name));
    if (fresh.empty()) return;
    Levels levels;
    add_below(names_.find(name)->second, levels);
    add_levels_above(name, levels);
    DiffStatement model{.kind = DiffKind::below, .subject = "*." + std::string(name)};
    if (const auto at = exceptions_.find(name); at != exceptions_.end()) model.except = at->second;
    tell_many(levels, fresh, model, regexes, statements);
  }

  // A name of one label and `suffix` that no rule names; empty where the 253 bytes of a name leave
  // no room for one.
  std::string fresh_name(const std::string& suffix) const {
    const std::size_t room = suffix.size() < longest_name ? longest_name - suffix.size() : 0;
    if (room < 20) return short_name(suffix, room);
    std::string name = "unlisted" + suffix;
    for (std::size_t number = 2; is_named(name); ++number) {
      name = "unlisted" + std::to_string(number) + suffix;
    }
    return name;
  }

  bool is_named(const std::string& name) const {
    return names_.contains(name) || sides_.floor->find(name) != nullptr;
  }

  std::string short_name(const std::string& suffix, std::size_t room) const {
    std::vector<std::string> labels = {""};
    std::size_t begin = 0;
    for (std::size_t length = 1; length <= room; ++length) {
      const std::size_t end = labels.size();
      for (std::size_t i = begin; i < end; ++i) {
        for (const char byte : label_bytes) {
          labels.push_back(labels[i] + byte);
          if (std::string name = labels.back() + suffix; !is_named(name)) return name;
        }
      }
      begin = end;
    }
    return {};
  }

  NamedOutcome named_outcome(const Levels& levels, DiffLayer own, std::uint16_t port) const {
    const DiffSide& side = own == own_before ? sides_.before : sides_.after;
    const DiffLayer never = own == own_before ? never_before : never_after;
    const auto place = [&](const Outcome& outcome) {
      return std::string((*side.places)[outcome.rule]);
    };
    std::vector<const DiffRules*> floor = levels.of[never];
    floor.push_back(&any_[never]);
    for (const DiffRules* level : floor) {
      const Outcome outcome = level_outcome(*level, port);
      if (outcome.kind != Kind::deny) continue;
      return {NamedOutcome::Kind::refused, {.reason = Reason::never, .rule = place(outcome)}};
    }
    for (const DiffRules* level : levels.of[own]) {
      const Outcome outcome = level_outcome(*level, port);
      if (outcome.kind == Kind::none) continue;
      return own_outcome(outcome, side, port);
    }
    return {};
  }

  static NamedOutcome own_outcome(const Outcome& outcome, const DiffSide& side,
                                  std::uint16_t port) {
    NamedOutcome made{
        NamedOutcome::Kind::refused,
        {.reason = Reason::denied, .rule = std::string((*side.places)[outcome.rule])}};
    if (outcome.kind == Kind::allow) {
      made.kind = NamedOutcome::Kind::reached;
      made.answer.verdict = Verdict::allow;
      made.answer.reason = Reason::listed;
      made.answer.tls = outcome.tls;
      made.answer.refuse_ech = outcome.refuse_ech;
    } else if (outcome.kind == Kind::wrong_port && side.mode == Mode::report) {
      made.kind = NamedOutcome::Kind::reached;
      made.answer.verdict = Verdict::report;
      made.answer.reason = Reason::reported;
      made.answer.tls = port == 443 ? TlsMode::require : TlsMode::match;
    } else if (outcome.kind == Kind::wrong_port) {
      made.answer.reason = Reason::port_not_allowed;
    }
    return made;
  }

  void tell_many(const Levels& levels, const std::string& name, const DiffStatement& model,
                 RegexDiff& regexes, std::vector<DiffStatement>& statements) const {
    const auto host = Host::parse(name);
    if (!host) return;
    const PortCells cells = cells_of(levels, regexes);
    compare_ports(
        cells, model,
        [&](std::uint16_t port) {
          return compare(answer_of(sides_.before.without_regexes->decide({*host, port})),
                         answer_of(sides_.after.without_regexes->decide({*host, port})));
        },
        statements);
    if (regexes.empty()) return;
    DiffByPort matched;
    cells.each([&](const PortCells::Cell& cell) {
      const Target target{*host, cell.asked};
      const RegexDiff::Cell what{named_outcome(levels, own_before, cell.asked),
                                 named_outcome(levels, own_after, cell.asked),
                                 bool{sides_.before.without_regexes->decide(target)},
                                 bool{sides_.after.without_regexes->decide(target)}};
      for (const Difference& difference : regexes.tell_matched(what, cell.asked)) {
        matched.add(difference, cell.range);
      }
    });
    DiffStatement by_rule{.kind = DiffKind::regex,
                          .subject = model.subject + " that a host_regex matches",
                          .except = model.except};
    matched.finish(by_rule, statements);
  }

  const DiffSides& sides_;
  std::array<std::span<const Rule>, layer_count> lists_;
  Layers any_;
  std::unordered_map<std::string_view, Named> names_;
  std::unordered_map<std::string_view, std::vector<std::string>> exceptions_;
};

}  // namespace

void diff_hosts(const DiffSides& sides, std::vector<DiffStatement>& statements) {
  HostDiff(sides).tell(statements);
}

}  // namespace sluice::allowlists
