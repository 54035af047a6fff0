// Ready-made lists of allow rules, compiled in: what `use: [preset:NAME]` means.
#pragma once

#include <span>
#include <string_view>

namespace sluice::allowlists {

struct Preset {
  std::string_view name;  // "github"; as an agent name, in lower case
  std::string_view text;  // YAML: a sequence of allow rules; its first line is a comment
};

// Sorted by name, each name once.
std::span<const Preset> presets() noexcept;

// Null where there is none of that name.
const Preset* find_preset(std::string_view name) noexcept;

// What the preset is for: its first line without "# ".
std::string_view summary_of(const Preset& preset) noexcept;

}  // namespace sluice::allowlists
