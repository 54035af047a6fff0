#include "allowlists/open_ports.h"

#include <array>
#include <bitset>
#include <limits>

namespace sluice::allowlists {
namespace {

// What an allow rule without `ports` means.
constexpr std::array<std::uint16_t, 2> usual_ports = {80, 443};

}  // namespace

OpenPorts open_ports(Mode mode, std::span<const Rule> rules) {
  OpenPorts open{.any = mode == Mode::report, .ports = {}};
  if (open.any) return open;
  std::bitset<std::size_t{1} + std::numeric_limits<std::uint16_t>::max()> seen;
  for (const Rule& rule : rules) {
    if (rule.effect != Effect::allow) continue;
    const std::span<const std::uint16_t> ports = rule.ports;
    for (const std::uint16_t port : ports.empty() ? std::span(usual_ports) : ports) seen.set(port);
  }
  if (seen.count() > OpenPorts::most) {
    open.any = true;
    return open;
  }
  for (std::size_t port = 0; port < seen.size(); ++port) {
    if (seen[port]) open.ports.push_back(static_cast<std::uint16_t>(port));
  }
  return open;
}

}  // namespace sluice::allowlists
