#include "allowlists/rule_index.h"

#include <algorithm>
#include <functional>
#include <tuple>

namespace sluice::allowlists {
namespace {

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

HostIndex::HostIndex(std::span<const Rule> rules) {
  table_.reserve(rules.size());
  std::vector<Placed> placed;
  std::vector<const Rule*> any;
  placed.reserve(rules.size());
  for (const Rule& rule : rules) {
    if (rule.scope == Scope::any) any.push_back(&rule);
    if (rule.scope > Scope::tree) continue;
    const std::uint32_t entry = entry_of(rule.name);
    if (rule.scope == Scope::exact) {
      placed.push_back({entry, Slot::exact, &rule});
      continue;
    }
    placed.push_back({entry, Slot::below, &rule});
    if (rule.scope == Scope::tree) placed.push_back({entry, Slot::apex, &rule});
  }
  add_levels(placed);
  if (!any.empty()) any_ = levels_.add(any);
  levels_.finish();
}

std::uint32_t HostIndex::entry_of(const std::string& name) {
  const std::uint32_t hash = name_hash(name);
  const std::uint32_t known = table_.find(hash, [&](std::uint32_t at) {
    return std::string_view(names_).substr(entries_[at].begin, entries_[at].size) == name;
  });
  if (known != HashTable::absent) return known;
  const auto entry = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({.begin = static_cast<std::uint32_t>(names_.size()),
                      .size = static_cast<std::uint32_t>(name.size())});
  names_ += name;
  table_.insert(hash, entry);
  const auto dots = static_cast<std::size_t>(std::count(name.begin(), name.end(), '.'));
  deepest_ = std::max(deepest_, dots + 1);
  return entry;
}

void HostIndex::add_levels(std::vector<Placed>& placed) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tuple(a.entry, a.slot, a.rule->id) < std::tuple(b.entry, b.slot, b.rule->id);
  });
  std::vector<const Rule*> together;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    together.push_back(placed[i].rule);
    const bool last = i + 1 == placed.size() || placed[i + 1].entry != placed[i].entry ||
                      placed[i + 1].slot != placed[i].slot;
    if (!last) continue;
    entries_[placed[i].entry].level[placed[i].slot] = levels_.add(together);
    together.clear();
  }
}

template <class Visit>
void HostIndex::walk(const Suffixes& name, Visit visit) const noexcept {
  for (std::size_t i = std::min(name.size(), deepest_); i-- > 0;) {
    const std::string_view suffix = name.text(i);
    const std::uint32_t found = table_.find(name.hash(i), [&](std::uint32_t at) {
      return std::string_view(names_).substr(entries_[at].begin, entries_[at].size) == suffix;
    });
    if (found == HashTable::absent) continue;
    const Entry& entry = entries_[found];
    const bool whole = i + 1 == name.size();
    if (whole && entry.level[exact] && visit(entry.level[exact])) return;
    const Level level = entry.level[whole ? apex : below];
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
