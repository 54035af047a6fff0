// `sluiced --healthcheck`: asks the sluiced that runs whether it is ready, for container engines.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::proxy {

// GET /readyz on an admin socket; an answer that takes longer than five seconds is none.
// Errors: nobody listens there, no answer in time, another answer than 200.
Result<void> ask_whether_ready(const std::string& admin_socket);

}  // namespace sluice::proxy
