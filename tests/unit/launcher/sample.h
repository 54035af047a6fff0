// A person, a machine and a request that are fine, for tests to spoil.
#pragma once

#include "launcher/plan/plan.h"

namespace sluice::launcher {

inline Machine sample_machine() {
  Machine machine;
  machine.uid = 1234;
  machine.gid = 1234;
  machine.user = "ana";
  machine.home = "/home/ana";
  machine.program_directory = "/opt/sluice/bin";
  machine.runtime_directory = "/run/user/1234/sluice/agents";
  machine.environment = {"PATH=/usr/bin", "HOME=/home/ana"};
  return machine;
}

inline RunRequest sample_request() {
  RunRequest request;
  request.agent = "coder-1";
  request.workspace = "/home/ana/project";
  request.command = {"true"};
  return request;
}

}  // namespace sluice::launcher
