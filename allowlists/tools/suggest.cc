#include "allowlists/tools/suggest.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "allowlists/address_guard.h"
#include "allowlists/tools/suggest_rules.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t longest_spelling = 100;
constexpr std::size_t left_out_cap = 10'000;
constexpr std::size_t names_of_address = 8;
constexpr IpAddress own_loopback = IpAddress::v4(0x7f000001);

// Refused for want of a rule alone.
bool wants_a_rule(const AuditDecision& seen) {
  return seen.reason == Reason::not_listed || seen.reason == Reason::port_not_allowed ||
         seen.reason == Reason::unknown_agent;
}

bool is_operators_no(Reason reason) {
  return reason == Reason::denied || reason == Reason::never || reason == Reason::policy_changed;
}

// What may become a rule. Private and own addresses only where a policy opened them before.
bool may_be_suggested(const AuditDecision& seen) {
  if (!seen.passed() && !wants_a_rule(seen)) return false;
  if (seen.address && classify(*seen.address) == AddressClass::forbidden) return false;
  if (seen.host->is_name()) {
    return seen.host->name() != own_loopback_name || (seen.passed() && seen.port != 0);
  }
  const AddressClass is = classify(seen.host->address());
  return is == AddressClass::open || (is == AddressClass::private_ && seen.passed());
}

bool is_reverse_lookup(const AuditDecision& seen) {
  return seen.port == 0 && seen.host && wants_a_rule(seen) && seen.host->is_name() &&
         (seen.host->name() == "arpa" || seen.host->name().ends_with(".arpa"));
}

void count(SeenTraffic& traffic, const AuditDecision& seen) {
  ++(seen.port == 0 ? traffic.questions : traffic.requests);
  if (seen.port != 0 && !seen.passed()) ++traffic.refused;
  traffic.bytes_up += seen.bytes_up;
  traffic.bytes_down += seen.bytes_down;
}

}  // namespace

std::vector<IpAddress> parts_to_cover(const IpAddress& address) {
  std::vector<IpAddress> parts = {address};
  const Embedded inside = embedded_ipv4(address);
  for (std::size_t i = 0; i < inside.count; ++i) {
    if (own_class(inside.address[i]) == AddressClass::private_) parts.push_back(inside.address[i]);
  }
  return parts;
}

Result<void> Suggester::add(const AuditDecision& seen) {
  if (distinct_ >= cap_) {
    return fail(Errc::bad_config, fmt::format("the log names more than {} targets", cap_),
                "read it one agent at a time: --agent NAME");
  }
  ++decisions_;
  const auto [entry, is_new] = agents_.try_emplace(seen.agent);
  if (is_new) ++distinct_;
  SeenAgent& agent = entry->second;
  if (is_reverse_lookup(seen)) {
    ++reverse_lookups_;
  } else if (!seen.host || !may_be_suggested(seen)) {
    leave_out(agent, seen);
  } else if (!seen.host->is_name()) {
    add_address(agent, seen.host->address(), seen);
  } else if (seen.host->name() == own_loopback_name) {
    add_address(agent, seen.address.value_or(own_loopback), seen);
  } else {
    add_name(agent, seen);
  }
  return {};
}

void Suggester::add_name(SeenAgent& agent, const AuditDecision& seen) {
  const auto [entry, is_new] = agent.names.try_emplace(seen.host->name());
  if (is_new) ++distinct_;
  SeenTarget& target = entry->second;
  count(target.traffic, seen);
  if (seen.port != 0) add_port(target, seen.port);
  if (!seen.passed()) return;
  if (seen.port == 443 && !seen.has_sni && is_allowed(seen.reason) &&
      seen.bytes_up + seen.bytes_down > 0) {
    target.unnamed_on_443 = true;
  }
  if (seen.address && classify(*seen.address) == AddressClass::private_) {
    add_address(agent, *seen.address, seen);
  }
}

void Suggester::add_address(SeenAgent& agent, const IpAddress& address, const AuditDecision& seen) {
  for (const IpAddress& part : parts_to_cover(address)) {
    const auto [entry, is_new] = agent.addresses.try_emplace(part);
    if (is_new) ++distinct_;
    SeenTarget& target = entry->second;
    add_port(target, seen.port);
    count(target.traffic, seen);
    if (seen.host->is_name() && target.names.size() < names_of_address) {
      target.names.insert(seen.host->name());
    }
  }
}

void Suggester::add_port(SeenTarget& target, std::uint16_t port) {
  const auto at = std::lower_bound(target.ports.begin(), target.ports.end(), port);
  if (at != target.ports.end() && *at == port) return;
  target.ports.insert(at, port);
  ++distinct_;
}

void Suggester::leave_out(SeenAgent& agent, const AuditDecision& seen) {
  if (seen.host && is_operators_no(seen.reason) &&
      agent.barred.emplace(seen.host->to_string(), seen.port).second) {
    ++distinct_;
  }
  // A line that passed where no rule helps is told as what would refuse it.
  const bool forbidden = !seen.host || seen.address || !seen.host->is_name();
  const Reason refuses = forbidden ? Reason::address_forbidden : Reason::address_private;
  const Reason reason = seen.passed() ? refuses : seen.reason;
  const std::string spelling = seen.spelling.substr(0, longest_spelling);
  const std::string address = seen.address ? seen.address->to_string() : "";
  const std::string key = fmt::format("{}\n{}\n{}\n{}\n{}", seen.agent, reason_name(reason),
                                      seen.port, address, spelling);
  const auto known = left_out_.find(key);
  if (known != left_out_.end()) {
    ++known->second.count;
  } else if (left_out_.size() < left_out_cap) {
    left_out_[key] = {seen.agent, spelling, seen.port, reason, seen.address, 1};
  } else {
    ++left_out_beyond_;
  }
}

Suggestion Suggester::suggestion() const {
  Suggestion made{.not_listed_here = left_out_beyond_,
                  .reverse_lookups = reverse_lookups_,
                  .decisions = decisions_};
  std::vector<SuggestedEntry> entries;
  entries.reserve(agents_.size());
  for (const auto& [name, seen] : agents_) {
    entries.push_back({name, {name}, suggest_rules(name, seen, made.doubts)});
  }
  made.entries = merge_agents(std::move(entries));
  for (const auto& [key, left] : left_out_) made.not_suggested.push_back(left);
  std::sort(made.not_suggested.begin(), made.not_suggested.end(),
            [](const NotSuggested& a, const NotSuggested& b) {
              return std::tie(b.count, a.agent, a.spelling, a.port, a.reason, a.address) <
                     std::tie(a.count, b.agent, b.spelling, b.port, b.reason, b.address);
            });
  return made;
}

}  // namespace sluice::allowlists
