#include "proxy/session/inbox.h"

#include <algorithm>
#include <cstring>

namespace sluice::proxy {

// Doubling, so that a head that comes byte by byte costs linear time.
void Inbox::make_place(std::size_t held) {
  const std::size_t size = std::max(held + next_read_, held == 0 ? 0 : 2 * capacity_);
  auto bytes = std::make_unique_for_overwrite<char[]>(size);
  if (held > 0) std::memcpy(bytes.get(), bytes_.get() + begin_, held);
  bytes_ = std::move(bytes);
  capacity_ = size;
  begin_ = 0;
  end_ = held;
}

asio::mutable_buffer Inbox::room() {
  const std::size_t held = end_ - begin_;
  const std::size_t least = held == 0 ? next_read_ : smallest_read;
  if (capacity_ - held < least) {
    make_place(held);
  } else if (held == 0 || capacity_ - end_ < least) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, held);
    begin_ = 0;
    end_ = held;
  }
  return asio::buffer(bytes_.get() + end_, std::min(capacity_ - end_, largest_read));
}

void Inbox::add(std::size_t size) noexcept {
  const bool filled = size == std::min(capacity_ - end_, largest_read);
  end_ += size;
  if (filled) next_read_ = std::min(4 * next_read_, largest_read);
}

void Inbox::release() noexcept {
  bytes_.reset();
  capacity_ = begin_ = end_ = 0;
  next_read_ = first_read_;
}

void Inbox::shrink() noexcept {
  if (!empty()) return;
  if (capacity_ > first_read_) release();
  next_read_ = first_read_;
}

}  // namespace sluice::proxy
