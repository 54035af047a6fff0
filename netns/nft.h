// Runs nft(8) commands in the calling thread's network namespace.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace sluice::netns {

// Answers what nft would print. All or nothing: commands change everything they say, or, in an
// error, nothing. `what` begins the sentence of an error, `hint` says what the kernel must have.
// Needs CAP_NET_ADMIN over the namespace, and has_nf_tables(): without them libnftables calls
// exit(3), or writes to stderr by itself.
Result<std::string> run_nft(const std::string& commands, std::string_view what,
                            std::string_view hint);

}  // namespace sluice::netns
