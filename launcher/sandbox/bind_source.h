// Opens what is bound into a sandbox, detached from the host's tree; for a root caller with its
// owner mapped.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan/plan.h"

namespace sluice::launcher {

// In the sandbox's own namespaces, before its new root: the mount with all below it, nosuid and
// nodev, read-only unless the bind is writable; of a seed only its directory, O_PATH. A symbolic
// link anywhere in the source is refused: it was resolved when the plan was checked, so one that is
// there now was put there since.
Result<Fd> open_bind(const Mount& bind);

// By real root, before the agent's id is taken on. A writable bind is idmapped (mount_setattr(2)):
// what belongs to the source directory's owner appears as, and is made by, `host_id`. Submounts are
// not shown. A seed's directory is found with root's rights and copied with the agent's.
Result<Fd> open_bind_as_root(const Mount& bind, uid_t host_id);

// The directory of a root other than the host's, as open_bind() opens a read-only bind, without
// what is mounted below it.
Result<Fd> open_root(const Root& root);

// In the sandbox's own namespaces: the directory on disk that holds an overlay's upper layer.
Result<Fd> open_layers(const Root& root);

// By real root. With an id range the directory's ids 0 to 65535 are those from `host_id` on.
Result<Fd> open_root_as_root(const Root& root, uid_t host_id);

}  // namespace sluice::launcher
