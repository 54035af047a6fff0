// Leaves the host's namespaces: one unshare for an agent's init, a nested user namespace for the
// agent.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/roots/sub_ids.h"

namespace sluice::launcher {

// What a user namespace maps: `count` ids from the inside ones to those of the namespace around it.
// Outside of all, the host's uid 0 is never one of them.
struct IdMap {
  uid_t inside_uid = 0;
  gid_t inside_gid = 0;
  uid_t outside_uid = 0;
  gid_t outside_gid = 0;
  unsigned count = 1;
};

// A process that keeps the rights of the moment to write its parent's maps: user_namespaces(7)
// lets a process itself map no more than its own id.
class MapWriter {
 public:
  static Result<MapWriter> start(const IdMap& map);
  // An ordinary caller's, by newuidmap(1) and newgidmap(1): inside 0 is himself, his ids follow.
  static Result<MapWriter> start(const SubIds& ids);
  MapWriter(MapWriter&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), order_(std::move(other.order_)), hint_(other.hint_) {}
  MapWriter(const MapWriter&) = delete;
  MapWriter& operator=(const MapWriter&) = delete;
  MapWriter& operator=(MapWriter&&) = delete;
  ~MapWriter();  // one that was not asked ends

  // After the parent's unshare(2).
  Result<void> write();

 private:
  // In the writer's process: whether the maps of a process are written.
  using Write = std::function<bool(pid_t)>;
  static Result<MapWriter> start(const Write& write, const char* hint);

  MapWriter(pid_t pid, Fd order, const char* hint)
      : pid_(pid), order_(std::move(order)), hint_(hint) {}

  pid_t pid_;
  Fd order_;
  const char* hint_;  // where it refuses
};

// New user, mount, pid (for children), ipc, uts, net and cgroup namespaces, and the map of the user
// namespace. The error names the setting that forbids it and how to change it.
Result<void> leave_host_namespaces(const IdMap& map);
// The same with the map that `writer` was started for.
Result<void> leave_host_namespaces(MapWriter& writer);

// A user namespace inside of the present one, where the same ids hold: whoever is in it has no
// capability over any namespace made before.
Result<void> nest_user_namespace(uid_t uid, gid_t gid);
// With the ids 0 to `count` - 1, for a caller with all capabilities over a namespace that has them.
Result<void> nest_user_namespace_with_range(unsigned count);
// For an ordinary caller: one in which he is 0 and his other ids follow, with all capabilities.
Result<void> enter_sub_ids(const SubIds& ids);

// What forbids user namespaces when unshare(2) or the map fails with `error_number`, from what the
// machine's settings say ("" where one does not exist).
struct NamespaceSettings {
  std::string_view unprivileged_userns_clone;       // kernel.unprivileged_userns_clone (Debian)
  std::string_view apparmor_restrict_unprivileged;  // kernel.apparmor_restrict_unprivileged_userns
};
std::string namespace_hint(int error_number, const NamespaceSettings& settings);

}  // namespace sluice::launcher
