// The entrance through which an agent came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::metrics {

// Names (via_name) are a contract of audit lines and of the metrics' `via` label.
enum class Via : std::uint8_t {
  connect,      // CONNECT on the proxy port
  http,         // absolute-form on the proxy port
  socks5,       // SOCKS5 on the proxy port
  transparent,  // captured by the namespace's route
  dns,          // a question to the namespace's port 53
  exec,         // a program was started (exec log)
  event,        // something about the agent or the log itself
};
inline constexpr std::size_t via_count = static_cast<std::size_t>(Via::event) + 1;

std::string_view via_name(Via via) noexcept;

}  // namespace sluice::metrics
