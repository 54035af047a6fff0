// Reads a system call profile in the JSON format of container engines: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::launcher {

struct CallAction {
  enum class Kind : std::uint8_t { allow, log, error, trap, kill_thread, kill_process };
  Kind kind = Kind::allow;
  std::uint16_t error_number = 0;  // of `error`

  friend bool operator==(const CallAction&, const CallAction&) = default;
};

// One argument, all 64 bits of it.
struct CallCondition {
  enum class Compare : std::uint8_t {
    not_equal,
    less,
    less_equal,
    equal,
    greater_equal,
    greater,
    masked_equal
  };
  unsigned index = 0;
  Compare compare = Compare::equal;
  std::uint64_t value = 0;   // of masked_equal: the mask
  std::uint64_t second = 0;  // of masked_equal: what the masked argument equals
};

// Holds for each of `names` where every condition does.
struct CallRule {
  std::vector<std::string> names;
  CallAction action;
  std::vector<CallCondition> conditions;
  Mark where;
};

struct SeccompProfile {
  CallAction otherwise;
  std::vector<CallRule> rules;  // those that are for this machine
};

// What `includes` and `excludes` ask about. An agent has no capabilities.
struct ProfileMachine {
  std::string architecture;  // as Go names it: "amd64", "arm64"
  unsigned major = 0;        // of the kernel's version
  unsigned minor = 0;
};
ProfileMachine this_machine();

// Errors, each with its place: what is no JSON, keys that are unknown or there twice, values of
// another type or out of range, actions that need somebody to answer (NOTIFY, TRACE), flags and
// listeners, `architectures` beside `archMap`, two conditions on one argument of an entry.
Result<SeccompProfile> parse_seccomp_profile(std::string_view json, const std::string& file,
                                             const ProfileMachine& machine);

}  // namespace sluice::launcher
