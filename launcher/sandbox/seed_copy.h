// Fills a seed's tmpfs with a copy of its source, as far as the calling id may read it.
#pragma once

#include <string>

#include "base/error.h"
#include "launcher/plan/plan.h"

namespace sluice::launcher {

// Copies directories, regular files (their holes stay holes) and symbolic links as links, with
// permission bits but setuid and setgid, and with modification times; all of it belongs to the
// caller. Nothing is opened through a symbolic link or beyond the source's mount. What cannot be
// read, is no such file, lies on another mount or deeper than 100 directories is left out.
// `source` and `target` are directories (O_PATH will do), the target empty; `seed` says what is not
// copied. Answers the sentence that names what was left out, or "". More than the target holds is
// an error that says what would be enough.
Result<std::string> copy_seed(const Mount& seed, int source, int target);

}  // namespace sluice::launcher
