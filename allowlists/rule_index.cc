#include "allowlists/rule_index.h"

#include <algorithm>
#include <bit>
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

Level HostTable::Record::level(Slot wanted) const noexcept {
  const std::uint32_t slots = words_[0] >> size_bits;
  if ((slots >> wanted & 1) == 0) return {};
  const std::uint32_t* words = behind_name();
  for (std::size_t slot = 0; slot < wanted; ++slot) words += std::size_t{2} * (slots >> slot & 1);
  return {words[0], words[1]};
}

HostTable::Record HostTable::Record::next() const noexcept {
  const std::uint32_t slots = words_[0] >> size_bits;
  return Record(behind_name() +
                std::size_t{2} * ((slots & 1) + (slots >> 1 & 1) + (slots >> 2 & 1)));
}

void HostTable::reserve(std::size_t count) {
  const auto bits = static_cast<unsigned>(std::bit_width(std::max<std::size_t>(count, 2) - 1));
  shift_ = 32 - bits;
}

void HostTable::add(std::uint32_t hash, std::string_view name, const Levels& levels) {
  const std::size_t at = words_.size();
  begins_.resize((hash >> shift_) + std::size_t{1}, static_cast<std::uint32_t>(at));
  words_.push_back(hash << tag_shift | static_cast<std::uint32_t>(name.size()));
  const std::size_t begin = words_.size();
  words_.resize(begin + (name.size() + 3) / 4);
  std::copy(name.begin(), name.end(), reinterpret_cast<char*>(words_.data() + begin));
  for (std::size_t slot = 0; slot < slot_count; ++slot) {
    if (!levels[slot]) continue;
    words_[at] |= 1U << (size_bits + slot);
    words_.push_back(levels[slot].shape);
    words_.push_back(levels[slot].first_rule);
  }
}

void HostTable::finish() {
  if (words_.empty()) return;
  words_.shrink_to_fit();
  const std::size_t buckets = (std::size_t{1} << (32 - shift_));
  begins_.resize(buckets + 1, static_cast<std::uint32_t>(words_.size()));
  begins_.shrink_to_fit();
}

HostTable::Record HostTable::find(std::uint32_t hash, std::string_view name) const noexcept {
  const std::size_t bucket = hash >> shift_;
  const std::uint32_t* end = words_.data() + begins_[bucket + 1];
  const std::uint32_t tag = hash << tag_shift >> tag_shift;
  for (Record record(words_.data() + begins_[bucket]); !record.is(end); record = record.next()) {
    if (record.tag() == tag && record.name() == name) return record;
  }
  return {};
}

void HostTable::prefetch(std::uint32_t hash) const noexcept {
  const std::size_t bucket = hash >> shift_;
  __builtin_prefetch(words_.data() + begins_[bucket]);
  __builtin_prefetch(words_.data() + begins_[bucket + 1] - 1);
}

HostIndex::HostIndex(std::span<const Rule> rules) {
  std::vector<Placed> placed;
  std::vector<const Rule*> any;
  placed.reserve(rules.size());
  for (const Rule& rule : rules) {
    if (rule.scope == Scope::any) any.push_back(&rule);
    if (rule.scope > Scope::tree) continue;
    const Suffixes name(rule.name);
    const std::uint32_t hash = name.hash(name.size() - 1);
    deepest_ = std::max(deepest_, name.size());
    const bool exact = rule.scope == Scope::exact;
    placed.push_back({hash, exact ? HostTable::exact : HostTable::below, &rule});
    if (rule.scope == Scope::tree) placed.push_back({hash, HostTable::apex, &rule});
  }
  add_records(placed);
  if (!any.empty()) any_ = levels_.add(any);
  levels_.finish();
}

void HostIndex::add_records(std::vector<Placed>& placed) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    return std::tie(a.rule->name, a.slot, a.rule->id) < std::tie(b.rule->name, b.slot, b.rule->id);
  });
  table_.reserve(placed.size());
  std::vector<const Rule*> together;
  HostTable::Levels levels;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    const auto& [hash, slot, rule] = placed[i];
    together.push_back(rule);
    const bool last_of_name = i + 1 == placed.size() || placed[i + 1].rule->name != rule->name;
    if (!last_of_name && placed[i + 1].slot == slot) continue;
    levels[slot] = levels_.add(together);
    together.clear();
    if (!last_of_name) continue;
    table_.add(hash, rule->name, levels);
    levels = {};
  }
  table_.finish();
}

template <class Visit>
void HostIndex::walk(const Suffixes& name, Visit visit) const noexcept {
  if (table_.empty()) return;
  const std::size_t count = std::min(name.size(), deepest_);
  for (std::size_t i = count; i-- > 0;) table_.prefetch(name.hash(i));
  for (std::size_t i = count; i-- > 0;) {
    const HostTable::Record found = table_.find(name.hash(i), name.text(i));
    if (!found) continue;
    const bool whole = i + 1 == name.size();
    if (whole) {
      const Level exact = found.level(HostTable::exact);
      if (exact && visit(exact)) return;
    }
    const Level level = found.level(whole ? HostTable::apex : HostTable::below);
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
