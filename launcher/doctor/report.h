// How findings are shown: a table for people, one JSON array for programs: pure.
#pragma once

#include <string>
#include <vector>

#include "launcher/doctor/finding.h"

namespace sluice::launcher::doctor {

// A line each (name, state, sentence), what mends it indented below, and a last line that says
// whether `sluice run` works here.
std::string to_table(const std::vector<Finding>& findings);

// [{"name":…,"state":"ok|missing|limited|unknown","means":…,"mend":…}, …] and a newline.
std::string to_json(const std::vector<Finding>& findings);

}  // namespace sluice::launcher::doctor
