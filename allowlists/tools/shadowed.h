// Finds the rules that decide nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "allowlists/policy_text.h"

namespace sluice::allowlists {

struct Shadowed {
  enum class How : std::uint8_t {
    same,     // an equally specific rule says it already
    broader,  // the next less specific one says it of more
    denied,   // an equally specific rule denies each of its ports
    never,    // so does one under `never:`
  };
  const Rule* rule = nullptr;
  const Rule* by = nullptr;
  How how = How::same;
  // Nothing changes when it is removed, alone or with all others of which that is true. Else it
  // allows nothing, but makes other ports port_not_allowed.
  bool removable = true;
};

// By rule id; only what is provable. A rule that several entries share is one only where it is in
// all of them; rules of presets, which nobody can mend, are none.
std::vector<Shadowed> shadowed_rules(const PolicyText& text);

}  // namespace sluice::allowlists
