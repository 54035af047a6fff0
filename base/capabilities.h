// Gives up every capability for good: one order, whoever does it.
#pragma once

#include <span>

#include "base/error.h"

namespace sluice {

// Empties the ambient, bounding, permitted, effective and inheritable sets of the calling thread,
// locks the securebits so that neither uid 0 nor a set-uid program brings any back
// (capabilities(7)), and looks whether it is so. Needs CAP_SETPCAP, the last one used.
Result<void> drop_capabilities();

// Leaves the calling thread, uid 0 of its user namespace, and all it will run with no other
// capabilities than `kept` (CAP_ numbers): bounding set, permitted and effective. Needs
// CAP_SETPCAP.
Result<void> keep_capabilities(std::span<const int> kept);

// PR_SET_NO_NEW_PRIVS, prctl(2).
Result<void> forbid_new_privileges();

}  // namespace sluice
