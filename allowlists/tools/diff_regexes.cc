#include "allowlists/tools/diff_regexes.h"

#include <algorithm>
#include <tuple>

namespace sluice::allowlists {
namespace {

using Kind = Outcome::Kind;
using Named = NamedOutcome::Kind;

// Beyond it a regex is taken to matter on every port.
constexpr std::size_t most_open_ports = 2000;

bool passes(const DiffAnswer& answer) { return answer.verdict != Verdict::deny; }

// What a name may be answered whose answer by this regex alone says nothing.
DiffAnswer at_best(const DiffAnswer& answer) {
  if (passes(answer)) return answer;
  return {.verdict = Verdict::allow, .reason = Reason::listed};
}

Difference opens(const DiffAnswer& before, const DiffAnswer& after) {
  Difference made{DiffChange::opens, before, at_best(after)};
  if (!passes(before)) made.after.tls = TlsMode::require;
  if (!passes(before)) made.after.refuse_ech = false;
  return made;
}

Difference closes(const DiffAnswer& before, const DiffAnswer& after) {
  Difference made{DiffChange::closes, at_best(before), after};
  made.before.tls = made.after.tls = TlsMode::require;
  made.before.refuse_ech = made.after.refuse_ech = false;
  return made;
}

void sort_ports(std::vector<std::uint16_t>& ports) {
  std::sort(ports.begin(), ports.end());
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
}

void add_ports(const DiffRules& rules, std::vector<std::uint16_t>& ports) {
  for (const Rule* rule : rules) {
    const auto listed = listed_ports_of(*rule);
    ports.insert(ports.end(), listed.begin(), listed.end());
  }
}

// Whether two lists say the same, wherever they stand.
bool same_rules(const DiffRules& a, const DiffRules& b) {
  if (a.size() != b.size()) return false;
  const auto said = [](const DiffRules& rules) {
    std::vector<std::tuple<Effect, std::vector<std::uint16_t>, std::optional<TlsMode>, bool>> all;
    for (const Rule* rule : rules) {
      std::vector<std::uint16_t> ports(rule->ports);
      sort_ports(ports);
      all.emplace_back(rule->effect, std::move(ports), rule->tls, rule->refuse_ech);
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  return said(a) == said(b);
}

}  // namespace

Outcome level_outcome(const DiffRules& level, std::uint16_t port) noexcept {
  Outcome outcome;
  for (const Rule* rule : level) {
    const auto listed = listed_ports_of(*rule);
    const bool denies = rule->effect == Effect::deny;
    const bool every = denies && rule->ports.empty();
    if (!every && std::find(listed.begin(), listed.end(), port) == listed.end()) {
      if (!denies && outcome.kind == Kind::none) {
        outcome = {.kind = Kind::wrong_port, .rule = level.front()->id};
      }
      continue;
    }
    if (denies) return {.kind = Kind::deny, .rule = rule->id};
    const TlsMode tls = rule->tls.value_or(port == 443 ? TlsMode::require : TlsMode::match);
    const bool first = outcome.kind != Kind::allow;
    outcome = {.kind = Kind::allow,
               .tls = first ? tls : std::min(tls, outcome.tls),
               .refuse_ech = rule->refuse_ech || (!first && outcome.refuse_ech),
               .rule = first ? rule->id : outcome.rule};
  }
  return outcome;
}

RegexDiff::RegexDiff(const DiffSides& sides, std::array<DiffRules, layer_count> any)
    : sides_(sides), any_(std::move(any)) {
  const std::array lists = {sides.before.never, sides.after.never, sides.before.own,
                            sides.after.own};
  for (std::size_t layer = 0; layer < layer_count; ++layer) {
    for (const Rule& rule : lists[layer]) {
      const auto listed = listed_ports_of(rule);
      const bool many = rule.scope != Scope::exact && rule.scope != Scope::cidr;
      if (layer >= own_before && many && rule.effect == Effect::allow) {
        auto& open = open_[layer - own_before];
        open.insert(open.end(), listed.begin(), listed.end());
      }
      if (rule.scope != Scope::regex) continue;
      by_text_[rule.name][layer].push_back(&rule);
      ports_[layer].insert(ports_[layer].end(), listed.begin(), listed.end());
    }
    sort_ports(ports_[layer]);
  }
  for (auto& open : open_) {
    sort_ports(open);
    many_open_ = many_open_ || open.size() > most_open_ports;
  }
}

DiffAnswer RegexDiff::answer(Side which, const Outcome& outcome, std::uint16_t port) const {
  if (outcome.kind == Kind::none) return {};
  DiffAnswer made{.rule = std::string((*side(which).places)[outcome.rule])};
  if (outcome.kind == Kind::allow) {
    made.verdict = Verdict::allow;
    made.reason = Reason::listed;
    made.tls = outcome.tls;
    made.refuse_ech = outcome.refuse_ech;
  } else if (outcome.kind == Kind::deny) {
    made.reason = Reason::denied;
  } else if (side(which).mode == Mode::report) {
    made.verdict = Verdict::report;
    made.reason = Reason::reported;
    made.tls = port == 443 ? TlsMode::require : TlsMode::match;
  } else {
    made.reason = Reason::port_not_allowed;
  }
  return made;
}

DiffAnswer RegexDiff::any_answer(Side which, std::uint16_t port) const {
  const Outcome outcome = level_outcome(any_[own_layer(which)], port);
  DiffAnswer made = answer(which, outcome, port);
  if (outcome.kind == Kind::none && side(which).mode == Mode::report) {
    made.verdict = Verdict::report;
    made.reason = Reason::reported;
    made.tls = port == 443 ? TlsMode::require : TlsMode::match;
  }
  return made;
}

RegexDiff::Summary RegexDiff::summarise(Side which, std::uint16_t port) const {
  Summary made;
  for (const auto& [text, group] : by_text_) {
    const Outcome outcome = level_outcome(group[own_layer(which)], port);
    if (outcome.kind == Kind::none) continue;
    const DiffAnswer said = answer(which, outcome, port);
    if (!passes(said)) {
      if (!made.refused) made.refused = said;
      continue;
    }
    if (!made.loosest || is_looser(*made.loosest, said)) made.loosest = said;
    if (!made.strictest || is_looser(said, *made.strictest)) made.strictest = said;
  }
  return made;
}

const RegexDiff::Summary& RegexDiff::summary(Side which, std::uint16_t port) {
  const auto [at, added] = summaries_[which].try_emplace(port);
  if (added) at->second = summarise(which, port);
  return at->second;
}

bool RegexDiff::could_reach(Side which, std::uint16_t port) const {
  const auto& open = open_[which];
  const DiffRules& floor = any_[which == before ? never_before : never_after];
  if (level_outcome(floor, port).kind == Kind::deny) return false;
  return many_open_ || side(which).mode == Mode::report ||
         std::binary_search(open.begin(), open.end(), port);
}

// Whether a name that this regex let pass may now pass by something that asks less of it.
bool RegexDiff::loosens(const DiffAnswer& old, const Outcome& now, std::uint16_t port) {
  if (now.kind == Kind::deny) return false;
  const Summary& others = summary(after, port);
  if (others.loosest && is_looser(old, *others.loosest)) return true;
  const DiffAnswer any = any_answer(after, port);
  return now.kind == Kind::none && passes(any) && is_looser(old, any);
}

void RegexDiff::add_floor(const Group& group, const PortCells::Cell& cell,
                          DiffByPort& found) const {
  const Outcome old = level_outcome(group[never_before], cell.asked);
  const Outcome now = level_outcome(group[never_after], cell.asked);
  const auto never = [&](Side which, const Outcome& outcome) {
    return DiffAnswer{.reason = Reason::never,
                      .rule = std::string((*side(which).places)[outcome.rule])};
  };
  if (old.kind == Kind::deny && now.kind != Kind::deny && could_reach(after, cell.asked)) {
    found.add(opens(never(before, old), {}), cell.range);
  } else if (now.kind == Kind::deny && old.kind != Kind::deny && could_reach(before, cell.asked)) {
    found.add(closes({}, never(after, now)), cell.range);
  }
}

void RegexDiff::add_own(const Group& group, const PortCells::Cell& cell, DiffByPort& found) {
  const std::uint16_t port = cell.asked;
  const Outcome old = level_outcome(group[own_before], port);
  const Outcome now = level_outcome(group[own_after], port);
  const DiffAnswer was = answer(before, old, port);
  const DiffAnswer is = answer(after, now, port);
  if (passes(was) && passes(is)) {
    if (const auto difference = compare(was, is)) found.add(*difference, cell.range);
    return;
  }
  const auto gives_way = [](const Outcome& refusing, const DiffAnswer& said, const Outcome& other,
                            const DiffAnswer& any) {
    if (refusing.kind == Kind::deny) return other.kind != Kind::deny;
    return refusing.kind == Kind::wrong_port && !passes(said) && other.kind == Kind::none &&
           passes(any);
  };
  const bool could_open = passes(is) || gives_way(old, was, now, any_answer(after, port));
  const bool could_close = passes(was) || gives_way(now, is, old, any_answer(before, port));
  if (could_open && could_reach(after, port)) found.add(opens(was, is), cell.range);
  if (passes(was) && loosens(was, now, port)) {
    found.add(
        opens(was, {.verdict = Verdict::allow, .reason = Reason::listed, .tls = TlsMode::off}),
        cell.range);
  }
  if (could_close && could_reach(before, port)) found.add(closes(was, is), cell.range);
}

PortCells RegexDiff::cells_of(const Group& group) const {
  std::vector<std::uint16_t> listed;
  for (const DiffRules& rules : group) add_ports(rules, listed);
  for (const DiffRules& rules : any_) add_ports(rules, listed);
  if (!many_open_) {
    for (const auto& open : open_) listed.insert(listed.end(), open.begin(), open.end());
  }
  return PortCells(std::move(listed));
}

void RegexDiff::tell_changed(std::vector<DiffStatement>& statements) {
  const bool same_mode = sides_.before.mode == sides_.after.mode;
  for (const auto& [text, group] : by_text_) {
    const bool same_floor = same_rules(group[never_before], group[never_after]);
    const bool same_own = same_mode && same_rules(group[own_before], group[own_after]);
    if (same_floor && same_own) continue;
    DiffByPort found;
    cells_of(group).each([&](const PortCells::Cell& cell) {
      const auto never = [&](DiffLayer layer) {
        return level_outcome(group[layer], cell.asked).kind == Kind::deny;
      };
      if (!same_floor) add_floor(group, cell, found);
      if (!same_own && never(never_before) == never(never_after) && !never(never_after)) {
        add_own(group, cell, found);
      }
    });
    found.finish({.kind = DiffKind::regex, .subject = '/' + std::string(text) + '/'}, statements);
  }
}

std::vector<Difference> RegexDiff::tell_matched(const Cell& cell, std::uint16_t port) {
  std::vector<Difference> told;
  const Named old = cell.before.kind;
  const Named now = cell.after.kind;
  if (old == now || (old != Named::open_yet && now != Named::open_yet)) return told;
  if (old == Named::open_yet) {
    const Summary& said = summary(before, port);
    if (now == Named::reached) {
      if (cell.reached_before && said.refused) {
        told.push_back(opens(*said.refused, cell.after.answer));
      }
      if (said.strictest && is_looser(*said.strictest, cell.after.answer)) {
        told.push_back(opens(*said.strictest, cell.after.answer));
      }
    } else if (!cell.reached_before && said.loosest) {
      told.push_back(closes(*said.loosest, cell.after.answer));
    }
    return told;
  }
  const Summary& said = summary(after, port);
  if (old == Named::reached) {
    if (said.loosest && is_looser(cell.before.answer, *said.loosest)) {
      told.push_back(opens(cell.before.answer, *said.loosest));
    }
    if (cell.reached_after && said.refused) {
      told.push_back(closes(cell.before.answer, *said.refused));
    }
  } else if (!cell.reached_after && said.loosest) {
    told.push_back(opens(cell.before.answer, *said.loosest));
  }
  return told;
}

}  // namespace sluice::allowlists
