// What must outlive a run: names, ids and files that are held while it lasts.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/cgroup/group.h"
#include "launcher/host_id.h"
#include "launcher/plan/preparation.h"
#include "launcher/roots/disk_layer.h"
#include "launcher/sessions/run_socket.h"
#include "launcher/supervision/proxy_keeper.h"

namespace sluice::launcher {

struct Holdings {
  std::optional<HostId> agent_id;
  std::optional<HostId> proxy_id;
  std::optional<RunSocket> control;
  std::optional<RunSocket> admin;
  std::optional<cgroup::Group> group;
  Fd audit;
  Fd root;     // an imported one, so that it is not deleted
  Fd changes;  // where they are kept
  std::optional<DiskLayer> layer;
};

// What is taken, or cannot be had, ends the run before it has begun.
// `company`: sluice's other processes, of a detached run.
Result<Holdings> hold(const RunOptions& options, const Prepared& prepared,
                      const std::vector<pid_t>& company);

// The sluiced that the run is to have, with what it inherits of `held`.
ProxyChoice proxy_of(const Prepared& prepared, const Holdings& held);

}  // namespace sluice::launcher
