// A list of rules by specificity, counted, so that it is cheap to try what changes without one.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "allowlists/rule.h"
#include "allowlists/rule_index.h"

namespace sluice::allowlists {

// The first two rules that say something, in file order: beside any rule one of them is left.
struct FirstTwo {
  std::array<const Rule*, 2> rules{};

  void add(const Rule& rule) noexcept;
  const Rule* beside(const Rule& rule) const noexcept {
    return rules[0] == &rule ? rules[1] : rules[0];
  }
};

// The rules of one specificity that are still there.
struct CountedLevel {
  struct Port {
    std::uint16_t port = 0;
    std::array<std::uint32_t, 3> allows{};  // by TlsMode
    std::uint32_t refuse_ech = 0;
    std::uint32_t denies = 0;  // those that list it
    FirstTwo allowing;
    FirstTwo denying;
  };

  std::vector<Port> ports;  // sorted
  std::uint32_t rules = 0;
  std::uint32_t allows = 0;
  std::uint32_t denies_of_all = 0;
  FirstTwo denying_all;
  const Rule* first = nullptr;
  std::uint32_t shape = 0;  // equal for levels of one list that say the same of every port

  Port* find(std::uint16_t port) noexcept;
  const Port* find(std::uint16_t port) const noexcept;
  // What it says of a port; Outcome::rule stays 0.
  Outcome says(const Port& port) const noexcept;
  Outcome says_of_others() const noexcept;
  bool denies(std::uint16_t port) const noexcept;
  // A rule beside `rule` that denies the port, when one did before any was taken away.
  const Rule* who_denies(std::uint16_t port, const Rule& rule) const noexcept;
};

class CountedLevels {
 public:
  // `rules` outlive it.
  explicit CountedLevels(std::span<const Rule> rules);

  // What names a level: a letter for its kind and what it is for.
  using Key = std::string;
  // The levels that a rule is in: for a tree that of the names below, then that of the name.
  static std::vector<Key> keys_of(const Rule& rule);
  static Key key_of_name(const std::string& name);
  static Key key_of_any();

  CountedLevel* find(const Key& key) noexcept;
  const CountedLevel* find(const Key& key) const noexcept;
  // The levels asked after `key` for all that reaches it, in order. Regexes, of which nobody knows
  // what they match, are left out.
  std::vector<const CountedLevel*> behind(const Key& key) const;
  // The level that decides what `key` does once that is gone; null where nobody knows.
  const CountedLevel* heir(const Key& key) const;

  // Takes one away, and puts it back.
  void remove(const Rule& rule) noexcept { count(rule, -1); }
  void restore(const Rule& rule) noexcept { count(rule, 1); }

 private:
  void count(const Rule& rule, std::uint32_t change) noexcept;
  static void count(CountedLevel& level, const Rule& rule, std::uint32_t change) noexcept;
  static void fill(CountedLevel& level, std::span<const Rule* const> rules);
  std::uint32_t shape_of(const CountedLevel& level);
  std::vector<Key> keys_behind(const Key& key) const;
  void add_enclosing(const Key& key, std::vector<Key>& keys) const;

  std::unordered_map<Key, CountedLevel> levels_;
  std::unordered_map<std::string, std::uint32_t> shapes_;
  std::set<std::uint8_t> lengths_v4_;  // of the ranges that occur
  std::set<std::uint8_t> lengths_v6_;
  bool has_regexes_ = false;
};

}  // namespace sluice::allowlists
