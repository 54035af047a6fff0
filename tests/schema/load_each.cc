// Loads one policy a line of stdin, a JSON string, and answers each with a JSON list of its errors.
#include <fmt/core.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "allowlists/load.h"

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto text = nlohmann::json::parse(line).get<std::string>();
    const std::vector<sluice::allowlists::Source> sources = {{"policy.yaml", text}};
    const auto loaded = sluice::allowlists::load(sources);
    nlohmann::json errors = nlohmann::json::array();
    if (!loaded) {
      for (const sluice::Error& error : loaded.error()) errors.push_back(error.what);
    }
    fmt::print("{}\n", errors.dump());
  }
}
