#include "metrics/top_blocked.h"

#include <algorithm>
#include <tuple>

namespace sluice::metrics {
namespace {

bool is_refusal(const AuditLine& line) {
  return line.members.empty() && line.via != Via::event &&
         (line.verdict == Verdict::deny || line.would_deny.has_value());
}

Blocked blocked_by(const AuditLine& line) {
  return {.agent = line.agent,
          .host = line.host,
          .port = line.port,
          .verdict = line.verdict,
          .reason = line.would_deny.value_or(line.reason),
          .rule = line.rule,
          .count = 0,
          .over = 0,
          .last = line.time};
}

bool is_same(const Blocked& kept, const AuditLine& line) {
  return kept.port == line.port && kept.verdict == line.verdict &&
         kept.reason == line.would_deny.value_or(line.reason) && kept.host == line.host;
}

}  // namespace

TopBlocked::Row& TopBlocked::row_of(const std::string& agent) {
  auto found = rows_.find(agent);
  if (found == rows_.end()) {
    if (rows_.size() >= most_agents) {
      rows_.erase(
          std::ranges::min_element(rows_, {}, [](const auto& entry) { return entry.second.used; }));
    }
    found = rows_.emplace(agent, Row()).first;
  }
  found->second.used = ++uses_;
  return found->second;
}

void TopBlocked::add(const AuditLine& line) {
  if (!is_refusal(line)) return;
  std::vector<Blocked>& hosts = row_of(line.agent).hosts;
  auto place =
      std::ranges::find_if(hosts, [&](const Blocked& kept) { return is_same(kept, line); });
  if (place == hosts.end()) {
    Blocked fresh = blocked_by(line);
    if (hosts.size() < hosts_per_agent) {
      hosts.push_back(std::move(fresh));
      place = std::prev(hosts.end());
    } else {
      place = std::ranges::min_element(hosts, {}, &Blocked::count);
      fresh.count = fresh.over = place->count;
      *place = std::move(fresh);
    }
  }
  ++place->count;
  place->last = line.time;
  place->rule = line.rule;
}

void TopBlocked::leave_out(const std::string& agent, std::uint64_t count) {
  row_of(agent).left_out += count;
}

std::vector<Blocked> TopBlocked::all() const {
  std::vector<Blocked> all;
  for (const auto& [agent, row] : rows_) all.insert(all.end(), row.hosts.begin(), row.hosts.end());
  std::ranges::sort(all, [](const Blocked& a, const Blocked& b) {
    return std::tie(b.count, a.agent, a.host, a.port, a.reason, a.verdict) <
           std::tie(a.count, b.agent, b.host, b.port, b.reason, b.verdict);
  });
  return all;
}

std::vector<TopBlocked::LeftOut> TopBlocked::left_out() const {
  std::vector<LeftOut> all;
  for (const auto& [agent, row] : rows_) {
    if (row.left_out > 0) all.push_back({agent, row.left_out});
  }
  return all;
}

}  // namespace sluice::metrics
