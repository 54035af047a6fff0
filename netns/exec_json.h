// The programs of an event as JSON: a list of objects with exactly the keys of SeenExec.
#pragma once

#include <vector>

#include "base/error.h"
#include "netns/message_json.h"
#include "netns/seen_exec.h"

namespace sluice::netns {

Json to_json(const std::vector<SeenExec>& execs);
// From key `execs`, which is there.
Result<std::vector<SeenExec>> read_execs(const Json& object);

}  // namespace sluice::netns
