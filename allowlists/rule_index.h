// Finds the rule that decides among many: hashed suffixes and prefixes, longest first, nothing
// allocated.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "allowlists/rule.h"

namespace sluice::allowlists {

// What the rules say of one port.
struct Outcome {
  enum class Kind : std::uint8_t {
    none,        // no rule matches
    allow,       //
    deny,        //
    wrong_port,  // allow rules match the host, none of them this port
  };
  Kind kind = Kind::none;
  TlsMode tls = TlsMode::require;
  bool refuse_ech = false;
  std::uint32_t rule = 0;
};

// The rules of one specificity: what they say of each port that one of them lists, and of the rest.
// Most levels differ only in where they stand in the file, so they share one shape, which stays in
// the cache.
struct Level {
  static constexpr std::uint32_t no_shape = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t shape = no_shape;
  std::uint32_t first_rule = 0;

  explicit operator bool() const noexcept { return shape != no_shape; }
};

class LevelShapes {
 public:
  struct OnPort {
    std::uint16_t port = 0;
    Outcome outcome;  // its rule counts from Level::first_rule
  };

  // `rules` in file order; not empty.
  Level add(std::span<const Rule* const> rules);
  // After the last add(): gives back what only add() needs.
  void finish() { known_.clear(); }

  Outcome find(Level level, std::uint16_t port) const noexcept;
  std::span<const OnPort> ports(Level level) const noexcept;
  // Whether an allow rule is in it and no deny rule for every port.
  bool has_allow(Level level) const noexcept {
    return shapes_[level.shape].rest.kind == Outcome::Kind::wrong_port;
  }

 private:
  struct Shape {
    std::uint32_t first_port = 0;
    std::uint32_t port_count = 0;
    Outcome rest;
  };
  std::uint32_t shape_of(Shape shape, const std::vector<OnPort>& ports);

  std::vector<Shape> shapes_;
  std::vector<OnPort> ports_;
  std::unordered_map<std::string, std::uint32_t> known_;
};

// Open addressing from a hash to a number; the caller compares keys.
class HashTable {
 public:
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();

  // Room for `count` entries at a load of at most one half.
  void reserve(std::size_t count);
  void insert(std::uint32_t hash, std::uint32_t value) noexcept;
  // Calls change(value) for each value that is there, once.
  template <class Change>
  void change_values(Change change) {
    for (Slot& slot : slots_) {
      if (slot.value != absent) slot.value = change(slot.value);
    }
  }
  // Begins to fetch what find() will read first: with many rules that is a wait for memory.
  void prefetch(std::uint32_t hash) const noexcept {
    if (!slots_.empty()) __builtin_prefetch(&slots_[hash & mask_]);
  }

  template <class Equal>
  std::uint32_t find(std::uint32_t hash, Equal equal) const noexcept {
    if (slots_.empty()) return absent;
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.value == absent) return absent;
      if (slot.hash == hash && equal(slot.value)) return slot.value;
    }
  }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t value = absent;
  };
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

// Every suffix of a canonical name that begins at a label, hashed in one pass from the right.
class Suffixes {
 public:
  struct Suffix {  // left uninitialised in the array: a decision writes only those it needs
    std::uint32_t hash;
    std::uint8_t begin;
  };

  explicit Suffixes(std::string_view name) noexcept;

  std::string_view name() const noexcept { return name_; }
  // From the last label (index 0) to the whole name (index size() - 1).
  std::size_t size() const noexcept { return size_; }
  std::uint32_t hash(std::size_t index) const noexcept { return suffixes_[index].hash; }
  std::string_view text(std::size_t index) const noexcept {
    return name_.substr(suffixes_[index].begin);
  }

 private:
  std::string_view name_;
  std::array<Suffix, 127> suffixes_;  // 253 bytes hold at most 127 labels
  std::size_t size_ = 0;
};

// What the rules say of each name, beside the name itself: with many rules a record that is found
// costs one wait for memory.
class HostRecords {
 public:
  enum Slot : std::size_t { exact, apex, below, slot_count };
  using Levels = std::array<Level, slot_count>;

  // Answers where it stands.
  std::uint32_t add(std::string_view name, const Levels& levels);
  // After the last add(): gives back the room that is left.
  void finish() { words_.shrink_to_fit(); }

  std::string_view name(std::uint32_t at) const noexcept;
  Level level(std::uint32_t at, Slot slot) const noexcept;

 private:
  // For each record: the length of the name and, as bits, the slots that it has; the two words of
  // each of their levels; the bytes of the name.
  std::vector<std::uint32_t> words_;
};

// A walk that only wants a yes or no for one port goes on past a level whose allow rules name other
// ports.
enum class OtherPorts : std::uint8_t { decide, are_no_match };

// exact, below, tree and any rules.
class HostIndex {
 public:
  explicit HostIndex(std::span<const Rule> rules);

  // The most specific level of exact, below and tree rules that matches the host decides. A deny
  // rule matches where its port does.
  Outcome find_named(const Suffixes& name, std::uint16_t port) const noexcept;
  Outcome find_any(std::uint16_t port) const noexcept;
  // The ports that find_named() might allow; nothing where no level of the name allows one.
  std::optional<std::span<const LevelShapes::OnPort>> candidate_ports(
      const Suffixes& name) const noexcept;
  std::span<const LevelShapes::OnPort> any_ports() const noexcept;

 private:
  struct Placed {
    std::uint32_t entry = 0;
    HostRecords::Slot slot = HostRecords::exact;
    const Rule* rule = nullptr;
  };
  // The names of the rules in the order in which they come, each once, and their number in table_.
  std::uint32_t entry_of(std::string_view name, std::vector<std::string_view>& names);
  void add_records(const std::vector<std::string_view>& names, std::vector<Placed>& placed);
  // Calls visit(level) from the most specific level to the least until it answers true.
  template <class Visit>
  void walk(const Suffixes& name, Visit visit) const noexcept;

  LevelShapes levels_;
  HashTable table_;
  HostRecords records_;
  std::size_t deepest_ = 0;  // labels of the longest pattern: longer suffixes match nothing
  Level any_;
};

// cidr rules.
class CidrIndex {
 public:
  explicit CidrIndex(std::span<const Rule> rules);

  // The longest prefix that matches decides.
  Outcome find(const IpAddress& address, std::uint16_t port, OtherPorts others) const noexcept;
  // The longest prefix that denies, whatever longer ones allow.
  Outcome find_deny(const IpAddress& address, std::uint16_t port) const noexcept;
  std::span<const LevelShapes::OnPort> candidate_ports(const IpAddress& address) const noexcept;

 private:
  struct Entry {
    Cidr range;
    Level level;
  };
  template <class Visit>
  void walk(const IpAddress& address, Visit visit) const noexcept;

  LevelShapes levels_;
  HashTable table_;
  std::vector<Entry> entries_;
  std::vector<std::uint8_t> lengths_v4_;  // those that occur, longest first
  std::vector<std::uint8_t> lengths_v6_;
};

}  // namespace sluice::allowlists
