// What the audit line of a program looks like that an agent started.
#pragma once

#include <cstdint>
#include <string>

#include "metrics/audit.h"
#include "netns/handover.h"

namespace sluice::proxy {

// `"via":"exec"`, no verdict: nothing was decided.
metrics::AuditLine exec_line(const std::string& agent, const netns::SeenExec& exec);
// `"via":"event","event":"execs_left_out","count":N`.
metrics::AuditLine execs_left_out_line(const std::string& agent, std::uint64_t count);

}  // namespace sluice::proxy
