// The pages of /api/v1 as JSON: pure. Whatever an agent chose is ASCII in them, escaped.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "metrics/recent.h"
#include "proxy/daemon/admin_query.h"
#include "proxy/daemon/agent_account.h"

namespace sluice::proxy {

// {"time", "agents": [...]}: the counts are of this process and this registration.
std::string agents_json(const std::vector<AgentAccount>& agents,
                        std::chrono::system_clock::time_point now);

// {"decisions": [...]}: audit lines, oldest first; without a limit the last 100.
std::string decisions_json(const metrics::Recent& recent, const DecisionQuery& query);

// {"blocked": [...], "left_out": [...]}; without a limit the first 20.
std::string top_json(const metrics::Recent& recent, const DecisionQuery& query);

// {"error", "hint"}
std::string error_json(const Error& error);

}  // namespace sluice::proxy
