// Reads JSON that another process wrote: nested too deeply, it would use up the stack of whoever
// writes it out again.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace sluice::launcher {

inline constexpr int deepest_json = 32;

// Discarded (is_discarded()) where it is no JSON, or nested deeper than deepest_json.
inline nlohmann::ordered_json parse_shallow(std::string_view text) {
  using Json = nlohmann::ordered_json;
  bool is_deep = false;
  const auto look = [&](int depth, Json::parse_event_t, const Json&) {
    is_deep |= depth > deepest_json;
    return depth <= deepest_json;
  };
  Json json = Json::parse(text, look, false);
  return is_deep ? Json(Json::value_t::discarded) : json;
}

}  // namespace sluice::launcher
