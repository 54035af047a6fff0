// What `never:` of two policies names, indexed once for all pairs of agents.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "allowlists/rule.h"

namespace sluice::allowlists {

class DiffFloor {
 public:
  // The rules of the first and of the second policy for one name and the names below it.
  struct Name {
    std::array<std::vector<const Rule*>, 2> rules;
    // Both refuse the whole of what either names, so that nothing can differ.
    bool closed = false;
  };

  // Both outlive it.
  DiffFloor(std::span<const Rule> before, std::span<const Rule> after);

  // Null where neither names it.
  const Name* find(std::string_view name) const;
  // Names that end in this one, without itself.
  std::span<const std::string_view> below(std::string_view name) const;
  // Those that are not closed.
  std::span<const std::string_view> open() const noexcept { return open_; }
  // The any rules of the first and of the second policy.
  std::span<const Rule* const> any(std::size_t side) const noexcept { return any_[side]; }

 private:
  std::unordered_map<std::string_view, Name> names_;
  std::vector<std::string_view> by_end_;
  std::vector<std::string_view> open_;
  std::array<std::vector<const Rule*>, 2> any_;
};

}  // namespace sluice::allowlists
