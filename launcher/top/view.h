// What two samples come to: how fast each agent goes. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/top/sample.h"

namespace sluice::launcher {

struct Rates {  // a second
  double requests = 0;
  double bytes_up = 0;
  double bytes_down = 0;
};

enum class TopOrder : std::uint8_t { activity, denied, name };

struct View {
  std::string time;  // RFC 3339
  Sample now;
  std::vector<Rates> rates;  // of each of now.agents
};

// Rates are 0 for who was not there before, or registered anew. `time` is now's.
View view_of(Sample now, const Sample& before, std::string time);

// Those that did most come first.
void sort_agents(View& view, TopOrder order);

// One object in one line: time, agents, blocked, decisions, notes. ASCII, with a line feed.
std::string to_json(const View& view);

}  // namespace sluice::launcher
