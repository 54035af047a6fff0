// `sluice policy check` and `sluice policy explain`: what a policy says, without running anything.
#pragma once

#include <string>
#include <vector>

#include "base/strong.h"

namespace sluice::launcher {

using AsJson = YesNo<struct AsJsonTag>;

// All errors and warnings of each file (or directory), to stderr. Answers 0 without errors, else 1.
int check_policies(const std::vector<std::string>& files);

struct ExplainOptions {
  std::string file;
  std::string agent;
  std::string target;
  AsJson json = AsJson::no;
};

// The verdict on stdout. Answers 0 for allow and report, 1 for deny, 2 for a bad file, agent or
// target.
int explain_policy(const ExplainOptions& options);

}  // namespace sluice::launcher
