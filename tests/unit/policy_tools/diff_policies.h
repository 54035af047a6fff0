// Policies from text, and what their difference says, for the tests of diff.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"
#include "allowlists/tools/diff.h"

namespace sluice::allowlists {

// The policy in `name`; a failed test and no rules if it has errors.
inline PolicyText text_of(std::string name, std::string yaml) {
  const std::vector<Source> sources = {{std::move(name), std::move(yaml)}};
  auto read = read_text(sources);
  if (read) return std::move(read->text);
  for (const Error& error : read.error()) ADD_FAILURE() << to_string(error);
  return {};
}

// The rules of coder-1, from line 4 on.
inline std::string of_coder(std::string_view rules) {
  return "version: 1\nagents:\n  coder-1:\n" + std::string(rules);
}

// diff_text() of old.yaml and new.yaml.
inline std::string told(const std::string& before, const std::string& after,
                        const std::optional<std::string>& agent = {}) {
  return diff_text(diff(text_of("old.yaml", before), text_of("new.yaml", after), agent));
}

// One rule list each, of coder-1's entry, from line 5 on.
inline std::string told_of_allow(std::string_view before, std::string_view after) {
  const auto policy = [](std::string_view rules) {
    return of_coder(rules.empty() ? "    allow: []\n" : "    allow:\n" + std::string(rules));
  };
  return told(policy(before), policy(after));
}

}  // namespace sluice::allowlists
