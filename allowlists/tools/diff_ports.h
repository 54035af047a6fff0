// Sets of ports, and the cells into which rules divide them.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "allowlists/rule.h"

namespace sluice::allowlists {

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;

  friend auto operator<=>(const PortRange&, const PortRange&) = default;
};

// Ascending, disjoint and not adjacent.
using Ports = std::vector<PortRange>;

// `range` begins behind the beginning of all of `ports`, or is the last of them.
void append_ports(Ports& ports, PortRange range);

bool has_port(const Ports& ports, std::uint16_t port) noexcept;

// "every port", "every port but 22", "port 443", "ports 80, 443, 8000-8010"
std::string ports_text(const Ports& ports);

// "443" or "8000-8010" each.
std::vector<std::string> ports_words(const Ports& ports);

// The ports that a rule lists: 80 and 443 for an allow rule without `ports`, none for a deny rule
// without, which means all of them.
std::span<const std::uint16_t> listed_ports_of(const Rule& rule) noexcept;

// Ports that no rule lists are answered alike, so one of them stands for all.
class PortCells {
 public:
  // In any order, also twice.
  explicit PortCells(std::vector<std::uint16_t> listed);

  struct Cell {
    PortRange range;
    std::uint16_t asked = 0;  // whose answer is that of the range
    bool listed = false;
  };
  // Calls visit(Cell) in ascending order; together they are 1-65535.
  template <class Visit>
  void each(Visit visit) const {
    std::uint32_t next = 1;
    for (const std::uint16_t port : listed_) {
      if (next < port) visit(unlisted_cell(next, port - 1U));
      visit(Cell{{port, port}, port, true});
      next = port + 1U;
    }
    if (next <= 65535) visit(unlisted_cell(next, 65535));
  }

 private:
  Cell unlisted_cell(std::uint32_t first, std::uint32_t last) const noexcept {
    return {
        {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)}, unlisted_, false};
  }

  std::vector<std::uint16_t> listed_;
  std::uint16_t unlisted_ = 0;  // the lowest
};

}  // namespace sluice::allowlists
