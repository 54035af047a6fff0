#include "allowlists/tools/diff_ports.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::allowlists {
namespace {

constexpr std::uint32_t last_port = 65535;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

Ports complement(const Ports& ports) {
  Ports others;
  std::uint32_t next = 1;
  for (const PortRange& range : ports) {
    if (next < range.first) {
      others.push_back(
          {static_cast<std::uint16_t>(next), static_cast<std::uint16_t>(range.first - 1)});
    }
    next = range.last + 1U;
  }
  if (next <= last_port) others.push_back({static_cast<std::uint16_t>(next), last_port});
  return others;
}

std::uint32_t count(const Ports& ports) {
  std::uint32_t sum = 0;
  for (const PortRange& range : ports) sum += range.last - range.first + 1U;
  return sum;
}

}  // namespace

void append_ports(Ports& ports, PortRange range) {
  if (!ports.empty() && ports.back().last + 1U >= range.first) {
    ports.back().last = std::max(ports.back().last, range.last);
  } else {
    ports.push_back(range);
  }
}

bool has_port(const Ports& ports, std::uint16_t port) noexcept {
  return std::any_of(ports.begin(), ports.end(), [&](const PortRange& range) {
    return range.first <= port && port <= range.last;
  });
}

std::vector<std::string> ports_words(const Ports& ports) {
  std::vector<std::string> words;
  words.reserve(ports.size());
  for (const PortRange& range : ports) {
    words.push_back(range.first == range.last ? fmt::format("{}", range.first)
                                              : fmt::format("{}-{}", range.first, range.last));
  }
  return words;
}

std::string ports_text(const Ports& ports) {
  const std::uint32_t listed = count(ports);
  if (listed == last_port) return "every port";
  if (listed > last_port / 2) return "every port but " + joined(ports_words(complement(ports)));
  return (listed == 1 ? "port " : "ports ") + joined(ports_words(ports));
}

std::span<const std::uint16_t> listed_ports_of(const Rule& rule) noexcept {
  static constexpr std::array<std::uint16_t, 2> default_ports = {80, 443};
  if (rule.ports.empty() && rule.effect == Effect::allow) return default_ports;
  return rule.ports;
}

PortCells::PortCells(std::vector<std::uint16_t> listed) : listed_(std::move(listed)) {
  std::sort(listed_.begin(), listed_.end());
  listed_.erase(std::unique(listed_.begin(), listed_.end()), listed_.end());
  std::uint32_t lowest = 1;
  for (const std::uint16_t port : listed_) {
    if (port != lowest) break;
    ++lowest;
  }
  unlisted_ = static_cast<std::uint16_t>(std::min(lowest, last_port));
}

}  // namespace sluice::allowlists
