// What arrived and was not yet understood: a buffer that grows while a parser asks for more.
#pragma once

#include <boost/asio/buffer.hpp>
#include <memory>
#include <string_view>

#include "proxy/net.h"

namespace sluice::proxy {

class Inbox {
 public:
  static constexpr std::size_t smallest_read = 1024;  // what malloc(3) has at hand
  static constexpr std::size_t largest_read = std::size_t{64} * 1024;

  // Reads begin with `first_read` bytes; each that filled its room makes the next one larger.
  explicit Inbox(std::size_t first_read = smallest_read) noexcept
      : first_read_(first_read), next_read_(first_read) {}

  std::string_view view() const noexcept { return {bytes_.get() + begin_, end_ - begin_}; }
  bool empty() const noexcept { return begin_ == end_; }
  // `size` bytes of view() are done with. Views of earlier calls stay valid until room() or
  // release().
  void consume(std::size_t size) noexcept { begin_ += size; }
  // Where the next read puts its bytes, and that `size` came.
  asio::mutable_buffer room();
  void add(std::size_t size) noexcept;

  // Gives the memory back, and what is left with it: an idle tunnel holds none.
  void release() noexcept;
  // Gives back what is more than a first read needs, where nothing is left.
  void shrink() noexcept;

 private:
  void make_place(std::size_t held);

  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t first_read_;
  std::size_t next_read_;
};

}  // namespace sluice::proxy
