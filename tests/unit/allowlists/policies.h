// What the tests of this folder say often: policies from text, errors as an operator sees them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"

namespace sluice::allowlists {

inline std::string joined(const std::vector<Error>& errors) {
  std::string text;
  for (const Error& error : errors) text += to_string(error) + '\n';
  return text;
}

// The policy in allow.yaml; a failed test and nothing allowed if it has errors.
inline std::shared_ptr<const Policy> policy_of(std::string text) {
  const std::vector<Source> sources = {{"allow.yaml", std::move(text)}};
  auto loaded = load(sources);
  if (loaded) return loaded->policy;
  ADD_FAILURE() << joined(loaded.error());
  return empty_policy();
}

// Everything that is said about allow.yaml, or "" when it loads.
inline std::string errors_of(std::string text) {
  const std::vector<Source> sources = {{"allow.yaml", std::move(text)}};
  const auto loaded = load(sources);
  return loaded ? "" : joined(loaded.error());
}

inline std::string warnings_of(std::string text) {
  const std::vector<Source> sources = {{"allow.yaml", std::move(text)}};
  const auto loaded = load(sources);
  return loaded ? joined(loaded->warnings) : joined(loaded.error());
}

// One agent, coder-1, with these lines below it; line 4 of the file is the first of them.
inline std::string coder(std::string_view lines) {
  return "version: 1\nagents:\n  coder-1:\n" + std::string(lines);
}

// An error of a rule that stands alone in coder-1's list; the rule's first key is at 5:9.
inline std::string errors_of_rule(std::string_view rule, std::string_view list = "allow") {
  return errors_of(coder("    " + std::string(list) + ":\n      - " + std::string(rule) + "\n"));
}

inline Target target(std::string_view authority) {
  const auto parsed = Target::parse(authority, 443);
  if (parsed) return *parsed;
  ADD_FAILURE() << authority << ": " << parsed.error().why;
  return {Host::of(IpAddress()), 0};
}

inline IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (!address) ADD_FAILURE() << text;
  return address.value_or(IpAddress());
}

inline std::string summary(const Decision& decision) {
  return std::string(verdict_name(decision.verdict)) + ' ' +
         std::string(reason_name(decision.reason)) + ' ' + std::string(decision.rule);
}

struct Case {
  std::string target;
  std::string expected;
};

inline void expect_decisions(const Policy& policy, const std::vector<Case>& cases) {
  for (const auto& [where, expected] : cases) {
    EXPECT_EQ(summary(policy.for_agent("coder-1").decide(target(where))), expected) << where;
  }
}

// An address that some name led to.
inline std::string judged(const Policy& policy, std::string_view address, std::uint16_t port,
                          OnThisMachine local = OnThisMachine::no) {
  const Target name{*Host::parse("name.test"), port};
  return summary(policy.for_agent("coder-1").judge_address(name, ip(address), local));
}

}  // namespace sluice::allowlists
