#include "allowlists/rule_index.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <tuple>

namespace sluice::allowlists {
namespace {

constexpr std::uint32_t all_slots = (1U << HostRecords::slot_count) - 1;

// FNV-1a, one byte at a time from the right end of a name.
class NameHash {
 public:
  void add(char c) noexcept { state_ = (state_ ^ static_cast<std::uint8_t>(c)) * 0x100000001b3; }
  std::uint32_t value() const noexcept {
    const std::uint64_t mixed = (state_ ^ state_ >> 32) * 0x9e3779b97f4a7c15;
    return static_cast<std::uint32_t>(mixed >> 32);
  }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325;
};

std::uint32_t name_hash(std::string_view name) noexcept {
  NameHash hash;
  for (std::size_t i = name.size(); i-- > 0;) hash.add(name[i]);
  return hash.value();
}

std::uint32_t range_hash(const Cidr& range) noexcept {
  NameHash hash;
  hash.add(static_cast<char>(range.length));
  const std::size_t size = range.network.is_v4() ? 4 : 16;
  for (std::size_t i = 0; i < size; ++i) {
    hash.add(static_cast<char>(range.network.bytes()[i]));
  }
  return hash.value();
}

void keep_lengths(std::vector<std::uint8_t>& lengths) {
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
}

}  // namespace

Suffixes::Suffixes(std::string_view name) noexcept : name_(name) {
  NameHash hash;
  for (std::size_t i = name.size(); i-- > 0;) {
    hash.add(name[i]);
    const bool starts_label = i == 0 || name[i - 1] == '.';
    if (starts_label && size_ < suffixes_.size()) {
      suffixes_[size_++] = {hash.value(), static_cast<std::uint8_t>(i)};
    }
  }
}

std::uint32_t HostRecords::add(std::string_view name, const Levels& levels) {
  const auto at = static_cast<std::uint32_t>(words_.size());
  words_.push_back(static_cast<std::uint32_t>(name.size()) << slot_count);
  for (std::size_t slot = 0; slot < slot_count; ++slot) {
    if (!levels[slot]) continue;
    words_[at] |= 1U << slot;
    words_.push_back(levels[slot].shape);
    words_.push_back(levels[slot].first_rule);
  }
  const std::size_t begin = words_.size();
  words_.resize(begin + (name.size() + 3) / 4);
  std::copy(name.begin(), name.end(), reinterpret_cast<char*>(words_.data() + begin));
  return at;
}

std::string_view HostRecords::name(std::uint32_t at) const noexcept {
  const std::uint32_t head = words_[at];
  const auto levels = static_cast<std::size_t>(std::popcount(head & all_slots));
  return {reinterpret_cast<const char*>(words_.data() + at + 1 + 2 * levels), head >> slot_count};
}

Level HostRecords::level(std::uint32_t at, Slot slot) const noexcept {
  const std::uint32_t head = words_[at];
  if ((head & 1U << slot) == 0) return {};
  const std::uint32_t before = head & ((1U << slot) - 1);
  const std::uint32_t* words =
      words_.data() + at + 1 + 2 * static_cast<std::size_t>(std::popcount(before));
  return {words[0], words[1]};
}

HostIndex::HostIndex(std::span<const Rule> rules) {
  table_.reserve(rules.size());
  std::vector<std::string_view> names;
  std::vector<Placed> placed;
  std::vector<const Rule*> any;
  placed.reserve(rules.size());
  for (const Rule& rule : rules) {
    if (rule.scope == Scope::any) any.push_back(&rule);
    if (rule.scope > Scope::tree) continue;
    const std::uint32_t entry = entry_of(rule.name, names);
    if (rule.scope == Scope::exact) {
      placed.push_back({entry, HostRecords::exact, &rule});
      continue;
    }
    placed.push_back({entry, HostRecords::below, &rule});
    if (rule.scope == Scope::tree) placed.push_back({entry, HostRecords::apex, &rule});
  }
  add_records(names, placed);
  if (!any.empty()) any_ = levels_.add(any);
  levels_.finish();
}

std::uint32_t HostIndex::entry_of(std::string_view name, std::vector<std::string_view>& names) {
  const std::uint32_t hash = name_hash(name);
  const std::uint32_t known =
      table_.find(hash, [&](std::uint32_t entry) { return names[entry] == name; });
  if (known != HashTable::absent) return known;
  const auto entry = static_cast<std::uint32_t>(names.size());
  names.push_back(name);
  table_.insert(hash, entry);
  const auto dots = static_cast<std::size_t>(std::count(name.begin(), name.end(), '.'));
  deepest_ = std::max(deepest_, dots + 1);
  return entry;
}

void HostIndex::add_records(const std::vector<std::string_view>& names,
                            std::vector<Placed>& placed) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tuple(a.entry, a.slot, a.rule->id) < std::tuple(b.entry, b.slot, b.rule->id);
  });
  std::vector<std::uint32_t> record_of(names.size());
  std::vector<const Rule*> together;
  HostRecords::Levels levels;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    const auto& [entry, slot, rule] = placed[i];
    together.push_back(rule);
    const bool last_of_name = i + 1 == placed.size() || placed[i + 1].entry != entry;
    if (!last_of_name && placed[i + 1].slot == slot) continue;
    levels[slot] = levels_.add(together);
    together.clear();
    if (!last_of_name) continue;
    record_of[entry] = records_.add(names[entry], levels);
    levels = {};
  }
  records_.finish();
  table_.change_values([&](std::uint32_t entry) { return record_of[entry]; });
}

template <class Visit>
void HostIndex::walk(const Suffixes& name, Visit visit) const noexcept {
  const std::size_t count = std::min(name.size(), deepest_);
  for (std::size_t i = count; i-- > 0;) table_.prefetch(name.hash(i));
  for (std::size_t i = count; i-- > 0;) {
    const std::string_view suffix = name.text(i);
    const std::uint32_t found =
        table_.find(name.hash(i), [&](std::uint32_t at) { return records_.name(at) == suffix; });
    if (found == HashTable::absent) continue;
    const bool whole = i + 1 == name.size();
    if (whole) {
      const Level exact = records_.level(found, HostRecords::exact);
      if (exact && visit(exact)) return;
    }
    const Level level = records_.level(found, whole ? HostRecords::apex : HostRecords::below);
    if (level && visit(level)) return;
  }
}

Outcome HostIndex::find_named(const Suffixes& name, std::uint16_t port) const noexcept {
  Outcome outcome;
  walk(name, [&](Level level) {
    outcome = levels_.find(level, port);
    return outcome.kind != Outcome::Kind::none;
  });
  return outcome;
}

Outcome HostIndex::find_any(std::uint16_t port) const noexcept {
  return any_ ? levels_.find(any_, port) : Outcome{};
}

std::optional<std::span<const LevelShapes::OnPort>> HostIndex::candidate_ports(
    const Suffixes& name) const noexcept {
  std::optional<std::span<const LevelShapes::OnPort>> ports;
  walk(name, [&](Level level) {
    if (levels_.has_allow(level)) ports = levels_.ports(level);
    return ports.has_value();
  });
  return ports;
}

std::span<const LevelShapes::OnPort> HostIndex::any_ports() const noexcept {
  return any_ ? levels_.ports(any_) : std::span<const LevelShapes::OnPort>();
}

CidrIndex::CidrIndex(std::span<const Rule> rules) {
  std::vector<std::pair<std::uint32_t, const Rule*>> placed;
  const auto is_range = [](const Rule& rule) { return rule.scope == Scope::cidr; };
  table_.reserve(static_cast<std::size_t>(std::count_if(rules.begin(), rules.end(), is_range)));
  for (const Rule& rule : rules) {
    if (!is_range(rule)) continue;
    const std::uint32_t hash = range_hash(rule.range);
    std::uint32_t entry =
        table_.find(hash, [&](std::uint32_t at) { return entries_[at].range == rule.range; });
    if (entry == HashTable::absent) {
      entry = static_cast<std::uint32_t>(entries_.size());
      entries_.push_back({rule.range});
      table_.insert(hash, entry);
      (rule.range.network.is_v4() ? lengths_v4_ : lengths_v6_).push_back(rule.range.length);
    }
    placed.emplace_back(entry, &rule);
  }
  keep_lengths(lengths_v4_);
  keep_lengths(lengths_v6_);
  std::stable_sort(placed.begin(), placed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<const Rule*> together;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    together.push_back(placed[i].second);
    if (i + 1 < placed.size() && placed[i + 1].first == placed[i].first) continue;
    entries_[placed[i].first].level = levels_.add(together);
    together.clear();
  }
  levels_.finish();
}

template <class Visit>
void CidrIndex::walk(const IpAddress& address, Visit visit) const noexcept {
  for (const std::uint8_t length : address.is_v4() ? lengths_v4_ : lengths_v6_) {
    const Cidr range = Cidr::around(address, length);
    const std::uint32_t found = table_.find(
        range_hash(range), [&](std::uint32_t at) { return entries_[at].range == range; });
    if (found != HashTable::absent && visit(entries_[found].level)) return;
  }
}

Outcome CidrIndex::find(const IpAddress& address, std::uint16_t port,
                        OtherPorts others) const noexcept {
  Outcome outcome;
  walk(address, [&](Level level) {
    outcome = levels_.find(level, port);
    if (others == OtherPorts::are_no_match && outcome.kind == Outcome::Kind::wrong_port) {
      outcome = {};
    }
    return outcome.kind != Outcome::Kind::none;
  });
  return outcome;
}

Outcome CidrIndex::find_deny(const IpAddress& address, std::uint16_t port) const noexcept {
  Outcome outcome;
  walk(address, [&](Level level) {
    outcome = levels_.find(level, port);
    return outcome.kind == Outcome::Kind::deny;
  });
  return outcome.kind == Outcome::Kind::deny ? outcome : Outcome{};
}

std::span<const LevelShapes::OnPort> CidrIndex::candidate_ports(
    const IpAddress& address) const noexcept {
  std::span<const LevelShapes::OnPort> ports;
  walk(address, [&](Level level) {
    const bool found = levels_.has_allow(level);
    if (found) ports = levels_.ports(level);
    return found;
  });
  return ports;
}

}  // namespace sluice::allowlists
