#include "proxy/session/at_once.h"

#include <sys/socket.h>

namespace sluice::proxy {

std::size_t write_at_once(Socket& socket, std::string_view bytes) noexcept {
  if (!socket.is_open()) return 0;
  const ssize_t size =
      ::send(socket.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

}  // namespace sluice::proxy
