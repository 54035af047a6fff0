#include "allowlists/preset.h"

#include <algorithm>

namespace sluice::allowlists {

const Preset* find_preset(std::string_view name) noexcept {
  const auto found = std::find_if(presets().begin(), presets().end(),
                                  [&](const Preset& preset) { return preset.name == name; });
  return found == presets().end() ? nullptr : &*found;
}

std::string_view summary_of(const Preset& preset) noexcept {
  std::string_view line = preset.text.substr(0, preset.text.find('\n'));
  line.remove_prefix(std::min(line.find_first_not_of("# "), line.size()));
  return line;
}

}  // namespace sluice::allowlists
