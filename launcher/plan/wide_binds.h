// Refuses writable binds that give an agent more than a project, unless a person names them twice.
#pragma once

#include "base/strong.h"
#include "launcher/plan/plan.h"

namespace sluice::launcher {

// Whether a person can have the bind by naming it twice.
using MayBeKnown = YesNo<struct MayBeKnownTag>;

// `bind` is writable. What belongs to the system is refused whatever a person says; '/', the home
// directories, what holds something that is hidden from agents, devices and (but for the workspace,
// whose sockets are hidden) sockets are refused unless the request knows the bind. Pure.
Result<void> refuse_wide_bind(const RunRequest& request, const Bind& bind, const Machine& machine,
                              MayBeKnown may_be_known);

}  // namespace sluice::launcher
