// What is written to the files of a control group for each limit: pure.
#pragma once

#include <string>
#include <vector>

#include "launcher/cgroup/place.h"
#include "launcher/plan/limits.h"

namespace sluice::launcher::cgroup {

struct Setting {
  const char* file;
  std::string value;
  bool if_there = false;    // kernels without swap accounting have no such file
  std::string unkept = {};  // what is said where there is none
};

// `limits` has the one that `controller` keeps. In the order in which they are written.
std::vector<Setting> settings_for(Version version, Controller controller, const Limits& limits);

// What is said where a kernel has none of the files for a weight.
std::string no_weight(std::uint32_t weight);

}  // namespace sluice::launcher::cgroup
