// Tells a person what a command wrote to an overlay, and what would allow it under a read-only
// root.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/roots/advice.h"
#include "launcher/roots/root.h"

namespace sluice::launcher {

struct Lesson {
  std::vector<std::string> command;
  int status = 0;  // what it ended with
  Advice advice;
};

// Looks at the upper layer `changes`, to which nothing writes any more, and at the root itself.
Result<Advice> learn(int changes, const Root& root);

// Lines without "sluice: ", the paths printable, the options ready for a shell and the `sandbox:`
// for a policy.
std::vector<std::string> in_lines(const Lesson& lesson);

// One line: command, status, written (path, files, bytes, deletions), left_out (directories besides
// those), unseen (why not everything was looked at), allow (kind, path, bytes, hides), options
// (words for a shell), cannot (path, why), other_owners. Pure ASCII; bytes that are not UTF-8
// become U+FFFD.
std::string to_json(const Lesson& lesson);

}  // namespace sluice::launcher
