// Pipes for splice(2), shared by the tunnels of one thread: only a tunnel that is moving bulk holds
// one.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "proxy/net.h"

namespace sluice::proxy {

struct Pipe {
  Fd read;
  Fd write;
  std::size_t room = 0;  // bytes
};

class PipePool {
 public:
  // With those of 1 MiB an ordinary user has 64 MiB of pipes, on all threads and in all processes
  // together (pipe(7), pipe-user-pages-soft).
  static constexpr std::size_t most_pipes = 16;  // of one thread

  // Empty and non-blocking. Nothing: as many as may be are in use, or the kernel gave no large one
  // a moment before `now`.
  std::optional<Pipe> take(Clock::time_point now) noexcept;
  // `pipe` is empty.
  void give_back(Pipe pipe) noexcept;
  // One that was taken is closed by its user.
  void forget() noexcept { --open_; }

  std::size_t open() const noexcept { return open_; }

 private:
  std::vector<Pipe> free_;
  std::size_t open_ = 0;  // free or in use
  Clock::time_point not_before_{};
};

}  // namespace sluice::proxy
