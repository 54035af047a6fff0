// What came of trying a sandbox's namespaces, mounts and network, and which setting is to blame:
// pure.
#pragma once

#include "launcher/doctor/facts.h"
#include "launcher/doctor/finding.h"

namespace sluice::launcher::doctor {

Finding judge_user_namespaces(const Facts& facts);
Finding judge_sandbox(const Facts& facts);
Finding judge_network(const Facts& facts);

}  // namespace sluice::launcher::doctor
