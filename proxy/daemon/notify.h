// Tells the service manager what sluiced is about (sd_notify(3)): a datagram to $NOTIFY_SOCKET.
#pragma once

#include <string_view>

namespace sluice::proxy {

// `state` is lines of VARIABLE=VALUE. Nothing happens where no service manager listens; never
// waits.
void notify(std::string_view state) noexcept;

// RELOADING=1 with the time that sd_notify(3) asks for beside it.
void notify_reloading() noexcept;

}  // namespace sluice::proxy
