// What arrived and was not yet understood: a buffer that grows while a parser asks for more.
#pragma once

#include <string>
#include <string_view>

#include "proxy/net.h"

namespace sluice::proxy {

class Inbox {
 public:
  std::string_view view() const noexcept { return std::string_view(bytes_).substr(begin_); }
  bool empty() const noexcept { return begin_ == bytes_.size(); }
  // `size` bytes of view() are done with. Views of earlier calls stay valid until more().
  void consume(std::size_t size) noexcept { begin_ += size; }
  // Reads once, appending. An error of the socket, or `eof`.
  Task<ErrorCode> more(Socket& socket);
  // Gives the memory back: an idle tunnel holds none.
  void release() noexcept;

 private:
  std::string bytes_;
  std::size_t begin_ = 0;
};

}  // namespace sluice::proxy
