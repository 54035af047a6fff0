// Tries what a sandbox does first, in children that change nothing and are bounded in time.
#pragma once

#include <string>

#include "launcher/doctor/facts.h"

namespace sluice::launcher::doctor {

// The namespaces, mounts and network of an agent, made and thrown away.
SandboxFact try_sandbox();

// Whether the file system of `directory` can map owners (mount_setattr(2), MOUNT_ATTR_IDMAP), as a
// root caller's writable binds need it. For root only.
Attempt try_id_map(const std::string& directory);

// What children have told, a JSON value a line; lines that are none are skipped. A step without an
// answer that others would have followed is one that never ended.
SandboxFact read_steps(const std::string& text);

}  // namespace sluice::launcher::doctor
