#include "allowlists/tools/next_step.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "allowlists/address_guard.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t most_ports_shown = 20;

// The addresses that must be covered for a target without a name.
std::vector<IpAddress> addresses_of(const Host& host) {
  if (host.is_name()) return {IpAddress::v4(0x7f000001)};
  std::vector<IpAddress> addresses = {host.address()};
  const Embedded embedded = embedded_ipv4(host.address());
  for (std::size_t i = 0; i < embedded.count; ++i) {
    const IpAddress& one = embedded.address[i];
    if (own_class(one) != AddressClass::open) addresses.push_back(one);
  }
  return addresses;
}

bool needs_range(const Host& host) { return !host.is_name() || host.name() == own_loopback_name; }

Cidr only(const IpAddress& address) {
  return {address, static_cast<std::uint8_t>(address.is_v4() ? 32 : 128)};
}

// Whether an added line for the target is of the rule's own level.
bool is_beside_line(const Rule& rule, const Host& host) {
  if (!needs_range(host)) return rule.scope == Scope::exact;
  return rule.scope == Scope::cidr && rule.range == only(addresses_of(host).front());
}

// Whether no line for the target would be more specific than the rule.
bool is_for_target_alone(const Rule& rule, const Host& host) {
  if (!needs_range(host)) return rule.scope == Scope::exact;
  const IpAddress address = addresses_of(host).front();
  return rule.scope != Scope::cidr || rule.range == only(address) || !rule.range.contains(address);
}

// The target's port and, where the line makes a level of its own, those that are open already.
std::set<std::uint16_t> ports_to_list(const Asked& asked) {
  std::set<std::uint16_t> ports = {asked.target.port};
  const AgentRules& rules = asked.policy.for_agent(asked.agent);
  for (const Mention& mention : asked.mentions.rules) {
    if (mention.rule->effect != Effect::allow) continue;
    if (is_beside_line(*mention.rule, asked.target.host)) return {asked.target.port};
    for (const std::uint16_t port : ports_of(*mention.rule)) {
      if (rules.decide({asked.target.host, port}).verdict == Verdict::allow) ports.insert(port);
    }
  }
  return ports;
}

// As it is written behind `- `.
std::string lines_for(const Asked& asked) {
  const std::set<std::uint16_t> ports = ports_to_list(asked);
  const Host& host = asked.target.host;
  const std::string list = fmt::format("ports: [{}]", fmt::join(ports, ", "));
  if (!needs_range(host)) {
    // A name of one label may be a word of YAML.
    const bool plain = host.name().find('.') != std::string::npos && host.name().front() != '-';
    const std::string_view quote = plain ? "" : "\"";
    return fmt::format("- {{host: {0}{1}{0}, {2}}}", quote, host.name(), list);
  }
  std::string lines;
  for (const IpAddress& address : addresses_of(host)) {
    lines += fmt::format(R"({}- {{cidr: "{}", {}}})", lines.empty() ? "" : " and ",
                         only(address).to_string(), list);
  }
  return lines;
}

std::string add_line(const Asked& asked) {
  if (ports_to_list(asked).size() > most_ports_shown) {
    return fmt::format("add port {} to the rule at {}", asked.target.port, asked.decision.rule);
  }
  return fmt::format("add to 'allow' of '{}' ({}): {}", asked.mentions.entry->pattern,
                     asked.mentions.entry->place, lines_for(asked));
}

std::string for_denied(const Asked& asked) {
  const Rule* rule =
      asked.mentions.decides ? asked.mentions.rules[*asked.mentions.decides].rule : nullptr;
  if (rule == nullptr || !is_for_target_alone(*rule, asked.target.host)) return add_line(asked);
  return fmt::format(
      "remove the deny rule at {}{}", asked.decision.rule,
      rule->ports.size() > 1 ? fmt::format(", or port {} of its ports", asked.target.port) : "");
}

}  // namespace

std::string next_step(const Asked& asked) {
  switch (asked.decision.would_deny.value_or(asked.decision.reason)) {
    case Reason::unknown_agent:
      return fmt::format("add under 'agents': {}: {{allow: [{}]}}", asked.agent,
                         lines_for(asked).substr(2));
    case Reason::never:
      return fmt::format("no rule of an agent opens it; change 'never' at {}", asked.decision.rule);
    case Reason::address_forbidden:
      return "no rule opens it: nothing at such an address is meant for an agent";
    case Reason::denied:
      return for_denied(asked);
    case Reason::not_listed:
    case Reason::port_not_allowed:
    case Reason::address_private:
      return add_line(asked);
    default:
      return {};
  }
}

}  // namespace sluice::allowlists
