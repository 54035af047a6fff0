// The OCI hooks createRuntime and poststop: a container with the annotation dev.sluice.agent gets
// an agent's network before its first process runs.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "netns/attach/attach.h"
#include "netns/containers/oci_config.h"

namespace sluice::netns {

// The command `oci-hook`: reads the container's state on stdin (runtime specification, "State").
// Answers 0, also for a container without the annotation; else 125, by which the runtime gives up
// the container, with the reason on stderr.
int oci_hook_main();

struct OciState {
  std::string id;
  std::string status;  // "creating", "created", "running", "stopped"
  pid_t pid = 0;
  std::string bundle;
  std::map<std::string, std::string> annotations;
};
Result<OciState> read_oci_state(std::string_view json);

// What to attach, after the annotations (dev.sluice.agent, dev.sluice.proxy, and
// dev.sluice.despite: weaknesses that are accepted, separated by commas) and what was found against
// it. Errors name a finding that is not accepted.
Result<AttachOrder> plan_attachment(const OciState& state, const std::vector<Finding>& findings);

// The name of its state file.
std::string oci_state_id(std::string_view container);

}  // namespace sluice::netns
