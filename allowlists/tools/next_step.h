// What an operator would write into a policy to open a target that it denies.
#pragma once

#include <string>
#include <string_view>

#include "allowlists/tools/mentions.h"

namespace sluice::allowlists {

// One question to a policy, with its answer.
struct Asked {
  const PolicyText& text;
  const Policy& policy;  // compiled from `text`
  std::string_view agent;
  const Target& target;
  const Decision& decision;
  const Mentions& mentions;
};

// One sentence. The rules in it, put where it says, open the target and nothing else, and keep open
// those of its ports that were. "" where nothing is denied or would be.
std::string next_step(const Asked& asked);

}  // namespace sluice::allowlists
