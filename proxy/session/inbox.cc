#include "proxy/session/inbox.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>

namespace sluice::proxy {
namespace {

constexpr std::size_t smallest_read = 2048;
constexpr std::size_t largest_read = std::size_t{16} * 1024;

}  // namespace

Task<ErrorCode> Inbox::more(Socket& socket) {
  bytes_.erase(0, begin_);
  begin_ = 0;
  const std::size_t held = bytes_.size();
  const std::size_t room = std::clamp(held, smallest_read, largest_read);
  bytes_.resize(held + room);
  const auto [error, size] =
      co_await socket.async_read_some(asio::buffer(bytes_.data() + held, room));
  bytes_.resize(held + size);
  co_return error;
}

void Inbox::release() noexcept {
  bytes_ = std::string();
  begin_ = 0;
}

}  // namespace sluice::proxy
