// Compares two answers about one target, and unites the ports for which they differ alike.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "allowlists/policy.h"
#include "allowlists/tools/diff.h"
#include "allowlists/tools/diff_floor.h"
#include "allowlists/tools/diff_ports.h"

namespace sluice::allowlists {

// One policy as it stands for one class of agents.
struct DiffSide {
  const AgentRules* rules = nullptr;            // as enforced
  const AgentRules* without_regexes = nullptr;  // the same, had it no host_regex rule
  // For what a name may resolve to, without what is said of every name anyway: any rules of never,
  // and that there is no entry.
  const AgentRules* guard = nullptr;
  std::span<const Rule> never;
  std::span<const Rule> own;
  Mode mode = Mode::enforce;
  const RulePlaces* places = nullptr;
};

struct DiffSides {
  DiffSide before;
  DiffSide after;
  bool same_floor = false;           // the never rules of both say the same, and both have an entry
  const DiffFloor* floor = nullptr;  // those never rules
};

struct Difference {
  DiffChange change = DiffChange::opens;
  DiffAnswer before;
  DiffAnswer after;

  friend auto operator<=>(const Difference&, const Difference&) = default;
};

// Whether the second asks less of the bytes than the first.
bool is_looser(const DiffAnswer& before, const DiffAnswer& after) noexcept;

DiffAnswer answer_of(const Decision& decision);

// Nothing where both refuse, or both let the same bytes pass with the same verdict.
std::optional<Difference> compare(DiffAnswer before, DiffAnswer after);

// What differs about one subject, port by port.
class DiffByPort {
 public:
  void add(const Difference& difference, PortRange range);
  // Statements that are `model` but for their ports, change and answers.
  void finish(const DiffStatement& model, std::vector<DiffStatement>& statements);

 private:
  std::map<Difference, Ports> found_;
};

// Asks ask(port) -> std::optional<Difference> once for each listed port and once for all others.
template <class Ask>
void compare_ports(const PortCells& cells, const DiffStatement& model, Ask ask,
                   std::vector<DiffStatement>& statements) {
  DiffByPort found;
  std::optional<std::optional<Difference>> unlisted;
  cells.each([&](const PortCells::Cell& cell) {
    std::optional<Difference> difference;
    if (cell.listed) {
      difference = ask(cell.asked);
    } else {
      if (!unlisted) unlisted = ask(cell.asked);
      difference = *unlisted;
    }
    if (difference) found.add(*difference, cell.range);
  });
  found.finish(model, statements);
}

}  // namespace sluice::allowlists
