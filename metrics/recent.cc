#include "metrics/recent.h"

#include <algorithm>

namespace sluice::metrics {
namespace {

std::size_t weight(const Recent::Entry& entry) {
  return sizeof(Recent::Entry) + entry.agent.size() + entry.json.size();
}

bool fits(const Recent::Entry& entry, const Recent::Wanted& wanted) {
  if (!wanted.agent.empty() && wanted.agent != entry.agent) return false;
  // Only denials are left out.
  return !wanted.verdict || *wanted.verdict == entry.verdict.value_or(Verdict::deny);
}

}  // namespace

void Recent::add(const AuditLine& line, std::string_view json) noexcept try {
  if (!line.members.empty()) return;
  if (json.ends_with('\n')) json.remove_suffix(1);
  Entry entry{.agent = line.agent, .verdict = line.verdict, .json = std::string(json)};
  const std::scoped_lock lock(mutex_);
  top_.add(line);
  keep(std::move(entry));
} catch (...) {  // no memory: not kept
}

void Recent::leave_out(const std::string& agent, std::uint64_t count) noexcept try {
  Entry entry{.agent = agent, .verdict = std::nullopt, .json = std::to_string(count)};
  const std::scoped_lock lock(mutex_);
  top_.leave_out(agent, count);
  keep(std::move(entry));
} catch (...) {  // as above
}

void Recent::keep(Entry entry) {
  entry.number = newest_.load(std::memory_order_relaxed) + 1;
  const std::size_t bytes = weight(entry);
  const std::uint64_t number = entry.number;
  entries_.push_back(std::make_shared<const Entry>(std::move(entry)));
  bytes_ += bytes;
  while (entries_.size() > most_lines || (bytes_ > most_bytes && entries_.size() > 1)) {
    bytes_ -= weight(*entries_.front());
    entries_.pop_front();
  }
  newest_.store(number, std::memory_order_release);
}

Recent::Entries Recent::last(const Wanted& wanted, std::size_t most) const {
  Entries found;
  const std::scoped_lock lock(mutex_);
  for (auto entry = entries_.rbegin(); entry != entries_.rend() && found.size() < most; ++entry) {
    if ((*entry)->verdict && fits(**entry, wanted)) found.push_back(*entry);
  }
  std::ranges::reverse(found);
  return found;
}

Recent::Following Recent::following(std::uint64_t after, const Wanted& wanted,
                                    std::size_t most) const {
  const std::scoped_lock lock(mutex_);
  Following next{.reached = after};
  if (entries_.empty() || entries_.back()->number <= after) return next;
  const std::uint64_t first = entries_.front()->number;
  if (first > after + 1) next.lost = first - after - 1;
  const std::size_t skipped = first > after ? 0 : static_cast<std::size_t>(after + 1 - first);
  for (std::size_t i = skipped; i < entries_.size() && next.entries.size() < most; ++i) {
    next.reached = entries_[i]->number;
    if (fits(*entries_[i], wanted)) next.entries.push_back(entries_[i]);
  }
  return next;
}

Recent::Top Recent::top() const {
  const std::scoped_lock lock(mutex_);
  return {top_.all(), top_.left_out()};
}

}  // namespace sluice::metrics
