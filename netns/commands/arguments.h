// Reads the command line of sluice-netns.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace sluice::netns {

// What to do: a command, or to say something and exit.
using Action = std::function<int()>;

// The words behind the program's name.
Action parse_arguments(const std::vector<std::string>& words);

}  // namespace sluice::netns
