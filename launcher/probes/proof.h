// The whole battery: run in the agent's place, told over a descriptor, read by `sluice prove`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launcher/probes/probe.h"

namespace sluice::launcher::probes {

// Runs every probe in a process of its own, which ends with it or after 30 seconds, and writes a
// JSON value a line to `to`.
void prove(const Bounds& bounds, int to);

struct Outcome {
  Area area = Area::network;
  std::string name;
  std::string tries;
  Answer answer;
};

// What prove() wrote, one outcome a probe in the battery's order. A probe that is not among it gave
// no answer.
std::vector<Outcome> read_outcomes(std::string_view text);

// Held, or with nothing to try.
bool holds(const Outcome& outcome) noexcept;

// For people: a line a probe below its area, what was reached below that, and a last line.
std::string to_table(const std::vector<Outcome>& outcomes);

// [{"area":…,"name":…,"tries":…,"outcome":"held|reached|not_applicable|no_answer","what":…}, …]
// and a newline.
std::string to_json(const std::vector<Outcome>& outcomes);

}  // namespace sluice::launcher::probes
