// How the commands of sluice-netns tell a person what came of them.
#pragma once

#include <string_view>

#include "base/error.h"
#include "netns/named/state.h"

namespace sluice::netns {

inline constexpr int failed_status = 125;  // as `sluice run`: not the command's own

// "sluice-netns: TEXT" on stderr.
void say(std::string_view text);
// The error on stderr; answers failed_status.
int report(const Error& error);

// The folder of state files, for root; `verb` begins the sentence that refuses anybody else.
Result<StateFolder> open_state_as_root(std::string_view verb);

}  // namespace sluice::netns
