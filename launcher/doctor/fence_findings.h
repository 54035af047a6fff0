// What the kernel can refuse an agent besides what its namespaces hide: pure.
#pragma once

#include "launcher/doctor/facts.h"
#include "launcher/doctor/finding.h"

namespace sluice::launcher::doctor {

Finding judge_seccomp(const Facts& facts);
Finding judge_exec_notices(const Facts& facts);
Finding judge_landlock(const Facts& facts);
// Always ok: an agent's filter refuses such sockets.
Finding judge_vsock(const Facts& facts);

}  // namespace sluice::launcher::doctor
