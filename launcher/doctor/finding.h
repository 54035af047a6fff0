// One answer of `sluice doctor`: what was looked at, how it stands, what that means, what mends it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong.h"

namespace sluice::launcher::doctor {

enum class State : std::uint8_t {
  ok,
  limited,  // sluice works, and less is possible
  missing,  // what needs it does not work
  unknown,  // it could not be found out
};

constexpr std::string_view to_string(State state) noexcept {
  switch (state) {
    case State::ok:
      return "ok";
    case State::limited:
      return "limited";
    case State::missing:
      return "missing";
    case State::unknown:
      break;
  }
  return "unknown";
}

// Mends what a filter around sluice refuses.
inline constexpr const char* no_filter_around =
    "in a container: start it with --security-opt seccomp=unconfined";

using Required = YesNo<struct RequiredTag>;

struct Finding {
  std::string name;  // unique
  State state = State::unknown;
  std::string means;  // one sentence, for a user of sluice
  std::string mend;   // the command or the step that mends it; "" where there is nothing to mend
  Required required = Required::no;  // without it `sluice run` does not start
};

// Whether `sluice run` can work: nothing that it requires is missing.
inline bool can_run(const std::vector<Finding>& findings) {
  return std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return bool(finding.required) && finding.state == State::missing;
  });
}

}  // namespace sluice::launcher::doctor
