// What can be said of names that regexes match, without knowing which names those are.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "allowlists/rule_index.h"
#include "allowlists/tools/diff_answers.h"

namespace sluice::allowlists {

// The four lists of rules that answer, in this order.
enum DiffLayer : std::size_t { never_before, never_after, own_before, own_after, layer_count };

using DiffRules = std::vector<const Rule*>;

// What the rules of one level say of a port, as policy language 4 has it. Its rule is an id.
Outcome level_outcome(const DiffRules& level, std::uint16_t port) noexcept;

// What the exact and suffix rules, before any regex is asked, make of the names of one cell.
struct NamedOutcome {
  enum class Kind : std::uint8_t {
    refused,   // whatever a regex says
    reached,   // whatever a regex of the agent says
    open_yet,  // the regexes decide, then the any rules
  };
  Kind kind = Kind::open_yet;
  DiffAnswer answer;
};

class RegexDiff {
 public:
  RegexDiff(const DiffSides& sides, std::array<DiffRules, layer_count> any);

  bool empty() const noexcept { return by_text_.empty(); }
  // That the regexes of a layer list.
  const std::vector<std::uint16_t>& ports(DiffLayer layer) const noexcept { return ports_[layer]; }

  // Of each regex whose rules differ: what names that it matches may gain or lose.
  void tell_changed(std::vector<DiffStatement>& statements);

  // Of the names of one cell that some regex matches, where exact and suffix rules let the regexes
  // decide on one side only.
  struct Cell {
    NamedOutcome before;
    NamedOutcome after;
    bool reached_before = false;  // names that no regex matches
    bool reached_after = false;
  };
  std::vector<Difference> tell_matched(const Cell& cell, std::uint16_t port);

 private:
  using Group = std::array<DiffRules, layer_count>;  // the rules of one regex
  enum Side : std::size_t { before, after };

  // What the regexes of one side, together, may make of a name on one port.
  struct Summary {
    std::optional<DiffAnswer> loosest;  // of those that let it pass
    std::optional<DiffAnswer> strictest;
    std::optional<DiffAnswer> refused;
  };

  static DiffLayer own_layer(Side which) noexcept {
    return which == before ? own_before : own_after;
  }
  const DiffSide& side(Side which) const noexcept {
    return which == before ? sides_.before : sides_.after;
  }
  DiffAnswer answer(Side which, const Outcome& outcome, std::uint16_t port) const;
  DiffAnswer any_answer(Side which, std::uint16_t port) const;
  Summary summarise(Side which, std::uint16_t port) const;
  const Summary& summary(Side which, std::uint16_t port);
  bool could_reach(Side which, std::uint16_t port) const;
  bool loosens(const DiffAnswer& old, const Outcome& now, std::uint16_t port);
  PortCells cells_of(const Group& group) const;
  void add_floor(const Group& group, const PortCells::Cell& cell, DiffByPort& found) const;
  void add_own(const Group& group, const PortCells::Cell& cell, DiffByPort& found);

  DiffSides sides_;
  std::array<DiffRules, layer_count> any_;
  std::map<std::string_view, Group> by_text_;
  std::array<std::vector<std::uint16_t>, layer_count> ports_;  // of regexes
  std::array<std::vector<std::uint16_t>, 2> open_;  // of allow rules for more than one name, sorted
  bool many_open_ = false;
  std::array<std::unordered_map<std::uint16_t, Summary>, 2> summaries_;
};

}  // namespace sluice::allowlists
