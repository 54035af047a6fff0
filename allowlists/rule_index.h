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

// What the rules say of each name, beside the name itself, in buckets by its hash. The list of
// buckets is small enough for the cache, so that finding one name of many waits for memory once.
class HostTable {
 public:
  enum Slot : std::size_t { exact, apex, below, slot_count };
  using Levels = std::array<Level, slot_count>;
  static constexpr unsigned size_bits = 8;
  static constexpr unsigned tag_shift = size_bits + slot_count;

  // What stands for one name; false where nothing does.
  class Record {
   public:
    Record() = default;
    explicit Record(const std::uint32_t* words) noexcept : words_(words) {}
    explicit operator bool() const noexcept { return words_ != nullptr; }
    bool is(const std::uint32_t* words) const noexcept { return words_ == words; }

    std::uint32_t tag() const noexcept { return words_[0] >> tag_shift; }
    std::string_view name() const noexcept {
      return {reinterpret_cast<const char*>(words_ + 1), size()};
    }
    Level level(Slot slot) const noexcept;
    Record next() const noexcept;

   private:
    std::size_t size() const noexcept { return words_[0] & ((1U << size_bits) - 1); }
    const std::uint32_t* behind_name() const noexcept { return words_ + 1 + (size() + 3) / 4; }

    const std::uint32_t* words_ = nullptr;
  };

  // Room for `count` names.
  void reserve(std::size_t count);
  // In ascending order of hashes, no name twice.
  void add(std::uint32_t hash, std::string_view name, const Levels& levels);
  // After the last add().
  void finish();

  Record find(std::uint32_t hash, std::string_view name) const noexcept;
  // Begins to fetch what find() will read.
  void prefetch(std::uint32_t hash) const noexcept;
  bool empty() const noexcept { return words_.empty(); }

 private:
  // For each record: the length of its name, the slots that it has as bits, and as many bits of the
  // hash as there is room for; the bytes of its name; the two words of each of its levels.
  std::vector<std::uint32_t> words_;
  std::vector<std::uint32_t> begins_;  // of each bucket, in words_, and the end of the last
  unsigned shift_ = 31;                // what leaves of a hash the number of its bucket
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
    std::uint32_t hash = 0;  // of the name
    HostTable::Slot slot = HostTable::exact;
    const Rule* rule = nullptr;
  };
  void add_records(std::vector<Placed>& placed);
  // Calls visit(level) from the most specific level to the least until it answers true.
  template <class Visit>
  void walk(const Suffixes& name, Visit visit) const noexcept;

  LevelShapes levels_;
  HostTable table_;
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
