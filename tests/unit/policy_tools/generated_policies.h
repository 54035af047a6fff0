// Policies from a generator, for properties that hold of every policy.
#pragma once

#include <fmt/core.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "allowlists/compile.h"
#include "allowlists/load.h"

namespace sluice::allowlists::generated {

// The policy in policy.yaml; a failed test and nothing in it if it has errors.
inline PolicyText text_of(std::string yaml) {
  const std::vector<Source> sources = {{"policy.yaml", std::move(yaml)}};
  auto read = read_text(sources);
  if (read) return std::move(read->text);
  for (const Error& error : read.error()) ADD_FAILURE() << to_string(error);
  return {};
}

// One agent, coder-1, with these lines below it; the first of them is line 4.
inline PolicyText coder(std::string_view lines) {
  return text_of(fmt::format("version: 1\nagents:\n  coder-1:\n{}", lines));
}

inline Target target_of(std::string_view authority) {
  const auto parsed = Target::parse(authority, 443);
  if (parsed) return *parsed;
  ADD_FAILURE() << authority << ": " << parsed.error().why;
  return {Host::of(IpAddress()), 0};
}

class PolicyGenerator {
 public:
  explicit PolicyGenerator(std::uint32_t seed) : random_(seed) {}

  std::size_t below(std::size_t end) { return random_() % end; }

  std::uint16_t port() { return one_of(std::vector<std::uint16_t>{22, 80, 443, 8443}); }
  std::string name() {
    std::string text = one_of(labels());
    for (std::size_t i = below(4); i > 0; --i) text += '.' + one_of(labels());
    return text;
  }
  std::string address() {
    return one_of(std::vector<std::string>{"10.0.0.1", "10.0.1.1", "10.1.0.1", "11.0.0.1",
                                           "127.0.0.1", "169.254.1.1", "2600::1", "2600:1::1",
                                           "64:ff9b::a00:1", "::1", "2001:db8::1"});
  }
  Target target() {
    if (below(8) == 0) return {*Host::parse("host.sluice.internal"), port()};
    return {*Host::parse(below(3) == 0 ? address() : name()), port()};
  }

  // agents: coder-1, perhaps coder-2, and a pattern; never and a group.
  std::string policy() {
    std::string yaml = "version: 1\nnever:" + list(below(4), true, 2);
    yaml += "groups:\n  shared:" + list(1 + below(3), false, 4) + "agents:\n";
    const std::size_t entries = 2 + below(2);
    for (std::size_t i = 0; i < entries; ++i) {
      yaml += i == 0 ? "  coder-*:\n" : fmt::format("  coder-{}:\n", i);
      if (below(4) == 0) yaml += "    mode: report\n";
      if (i == 0 || below(2) == 0) yaml += "    use: [group:shared]\n";
      yaml += "    allow:" + list(below(12), false, 6);
      yaml += "    deny:" + list(below(7), true, 6);
    }
    return yaml;
  }

 private:
  template <class List>
  typename List::value_type one_of(const List& list) {
    return list[below(list.size())];
  }
  static const std::vector<std::string>& labels() {
    static const std::vector<std::string> all = {"a", "b", "ab", "c"};
    return all;
  }

  std::string subject() {
    const std::size_t kind = below(14);
    if (kind == 0) return "any: true";
    if (kind == 1) {
      return fmt::format(
          "host_regex: '{}'",
          one_of(std::vector<std::string>{".*", "a.*", ".*B", "[ab]+", "(a|b)\\.c", ".*sluice.*"}));
    }
    if (kind < 6) {
      const IpAddress around = *IpAddress::parse(address());
      const auto length = one_of(around.is_v4() ? std::vector<std::uint8_t>{8, 16, 24, 32}
                                                : std::vector<std::uint8_t>{13, 48, 96, 128});
      return fmt::format("cidr: \"{}\"", Cidr::around(around, length).to_string());
    }
    if (kind == 6) return "host: \"*.sluice.internal\"";
    const std::string prefix = one_of(std::vector<std::string>{"", "*.", "."});
    return fmt::format("host: \"{}{}\", public_suffix: true", prefix, name());
  }
  std::string rule(bool deny) {
    std::string text = subject();
    std::vector<std::uint16_t> ports;
    for (std::size_t i = below(3); i > 0; --i) ports.push_back(port());
    if (!ports.empty()) text += fmt::format(", ports: [{}]", fmt::join(ports, ", "));
    if (!deny && below(5) == 0) text += ", tls: match";
    if (!deny && below(8) == 0) text += ", ech: deny";
    return "{" + text + "}";
  }
  std::string list(std::size_t count, bool deny, std::size_t indent) {
    if (count == 0) return " []\n";
    std::string text = "\n";
    for (std::size_t i = 0; i < count; ++i) {
      text += std::string(indent, ' ') + "- " + rule(deny) + '\n';
    }
    return text;
  }

  std::mt19937 random_;
};

}  // namespace sluice::allowlists::generated
