// Leaves the host's namespaces: one unshare for an agent's init, a nested user namespace for the
// agent.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "base/error.h"

namespace sluice::launcher {

// A user namespace with one id in it. host ids are the caller's own effective ones; uid 0 is never
// one.
struct IdMap {
  uid_t inside_uid = 0;
  gid_t inside_gid = 0;
  uid_t outside_uid = 0;
  gid_t outside_gid = 0;
};

// New user, mount, pid (for children), ipc, uts, net and cgroup namespaces, and the map of the user
// namespace. The error names the setting that forbids it and how to change it.
Result<void> leave_host_namespaces(const IdMap& map);

// A user namespace inside of the present one, where the same ids hold: whoever is in it has no
// capability over any namespace made before.
Result<void> nest_user_namespace(uid_t uid, gid_t gid);

// What forbids user namespaces when unshare(2) or the map fails with `error_number`, from what the
// machine's settings say ("" where one does not exist).
struct NamespaceSettings {
  std::string_view unprivileged_userns_clone;       // kernel.unprivileged_userns_clone (Debian)
  std::string_view apparmor_restrict_unprivileged;  // kernel.apparmor_restrict_unprivileged_userns
};
std::string namespace_hint(int error_number, const NamespaceSettings& settings);

}  // namespace sluice::launcher
