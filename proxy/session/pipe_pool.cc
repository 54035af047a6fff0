#include "proxy/session/pipe_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <new>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::array pipe_sizes = {1024 * 1024, 256 * 1024};  // bytes
// Where the kernel refuses a large pipe, asking again costs four system calls.
constexpr auto refused_for = 1s;

std::optional<Pipe> make_pipe() noexcept {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) return {};
  Pipe pipe{Fd(ends[0]), Fd(ends[1]), 0};
  for (const int size : pipe_sizes) {
    const int room = ::fcntl(pipe.write.get(), F_SETPIPE_SZ, size);
    if (room < size) continue;
    pipe.room = static_cast<std::size_t>(room);
    return pipe;
  }
  return {};
}

}  // namespace

std::optional<Pipe> PipePool::take(Clock::time_point now) noexcept {
  if (!free_.empty()) {
    Pipe pipe = std::move(free_.back());
    free_.pop_back();
    return pipe;
  }
  if (open_ >= most_pipes || now < not_before_) return {};
  auto pipe = make_pipe();
  if (pipe) {
    ++open_;
  } else {
    not_before_ = now + refused_for;
  }
  return pipe;
}

void PipePool::give_back(Pipe pipe) noexcept try {
  free_.push_back(std::move(pipe));
} catch (const std::bad_alloc&) {
  forget();
}

}  // namespace sluice::proxy
