// Tells a message of the commands log from every other, without reading it.
#pragma once

#include <string_view>

namespace sluice::netns {

// Whether `message` is one that encode() made of an Event of kind exec, or else one that
// decode_request() refuses: its last keys say so, and no key may come twice.
bool is_exec_event(std::string_view message);

}  // namespace sluice::netns
