// The one table of words of the policy language that do not act yet, and are refused with a
// sentence.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace sluice::allowlists {

struct UnbuiltKey {
  std::string_view key;
  std::string_view purpose;  // ends "'KEY' is not built yet: …"
  std::string_view hint;
};

inline constexpr std::array unbuilt_keys = {
    UnbuiltKey{"requests", "what is said inside TLS is not inspected", "remove it"},
    UnbuiltKey{"inject", "what is said inside TLS is not changed", "remove it"},
    UnbuiltKey{"secrets", "what is said inside TLS is not changed", "remove it"},
    UnbuiltKey{"leaks", "what is said inside TLS is not inspected", "remove it"},
    UnbuiltKey{"tls: inspect", "what is said inside TLS is not inspected", "use 'tls: require'"},
};

constexpr const UnbuiltKey* find_unbuilt(std::string_view key) {
  const auto* found = std::find_if(unbuilt_keys.begin(), unbuilt_keys.end(),
                                   [&](const UnbuiltKey& one) { return one.key == key; });
  return found == unbuilt_keys.end() ? nullptr : found;
}

}  // namespace sluice::allowlists
