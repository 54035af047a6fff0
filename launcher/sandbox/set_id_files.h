// Looks for setuid and setgid programs in what root is about to give an agent.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::launcher {

// Walks the tree at `directory` (an O_PATH descriptor; a file is a tree of one) without following
// links or leaving its file system. A regular file that is setuid, or setgid and executable, is an
// error that names it: the agent could rewrite it through a shared mapping, which does not clear
// the bit (mmap(2)), and everybody on the machine could then run the agent's code as its owner.
// `name` is how a person knows it.
Result<void> refuse_set_id_files(int directory, const std::string& name);

}  // namespace sluice::launcher
