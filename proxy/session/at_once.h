// What a socket takes at once: without a wait, a coroutine or an operation of Asio.
#pragma once

#include <string_view>

#include "proxy/net.h"

namespace sluice::proxy {

// Writes what fits into the socket's buffer now, and answers how many bytes that were: 0 where it
// is full or broken, which the next operation on it tells.
std::size_t write_at_once(Socket& socket, std::string_view bytes) noexcept;

}  // namespace sluice::proxy
