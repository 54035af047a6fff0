// Where below a home directory tools keep keys, tokens and histories.
#pragma once

#include <string>
#include <vector>

namespace sluice::launcher {

// As they are named; most of them do not exist.
std::vector<std::string> secrets_below(const std::string& home);

// Where those of them really lie whose path leads through a symbolic link.
std::vector<std::string> linked_secrets_below(const std::string& home);

}  // namespace sluice::launcher
