// Looks into what an agent may write before it is given: sockets, devices, FIFOs, and files of
// environment variables.
#pragma once

#include <string>
#include <vector>

#include "launcher/plan/plan.h"
#include "launcher/top_levels.h"

namespace sluice::launcher {

// The top three levels of a directory, in which the following look.
TopLevels look_at_writable(const std::string& directory);

Remarkable remarkable_in(const TopLevels& looked_at);

// Files of a project that hold secrets by custom: .env and .env.*, but not .env.example,
// .env.sample, .env.template.
bool is_env_file(std::string_view name);

// Those in the top levels of the workspace and in the directories above it, with links that lead to
// a regular file below the same directory resolved.
EnvFiles find_env_files(const std::string& workspace, const TopLevels& in_workspace);

// What a person is told: FIFOs by which an agent can talk with others, files that are hidden.
std::vector<std::string> writable_notices(const RunRequest& request, const Plan& plan);

}  // namespace sluice::launcher
