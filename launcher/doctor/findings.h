// Makes of the facts what a person needs to know, one finding a subject: pure.
#pragma once

#include <vector>

#include "launcher/doctor/facts.h"
#include "launcher/doctor/finding.h"

namespace sluice::launcher::doctor {

// In the order in which they are shown: what `sluice run` requires first.
std::vector<Finding> findings(const Facts& facts);

Finding judge_kernel(const Facts& facts);
Finding judge_sluiced(const Facts& facts);
Finding judge_id_map(const Facts& facts);
Finding judge_ipv6(const Facts& facts);
Finding judge_subids(const Facts& facts);
Finding judge_overlays(const Facts& facts);
Finding judge_cgroups(const Facts& facts);

}  // namespace sluice::launcher::doctor
