// One direction of a tunnel: moves bytes from one socket to the other, as they come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "proxy/session/meter.h"
#include "proxy/session/pipe_pool.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

class Relay;

// No coroutine: an idle one is an operation that waits, and holds neither buffer nor pipe. Small
// reads pass through the thread's buffer, and what the receiver does not take at once is kept here.
// Bulk goes through a pipe of the thread's pool and is never copied.
class Lane {
 public:
  Lane(Relay& relay, Session& session, metrics::Direction direction) noexcept
      : relay_(relay), session_(session), direction_(direction) {}
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Sends `first` on, then whatever arrives. Once.
  void start(std::string_view first) noexcept;
  // Nothing is read from now on, until resume(). For one that has not read anything.
  void hold() noexcept { held_ = true; }
  void resume() noexcept;
  // Ends without a word to either side, at once or when what waits has woken.
  void stop() noexcept;

  bool is_running() const noexcept { return state_ == State::running; }
  bool has_ended() const noexcept { return state_ == State::ended; }
  // Something has come from the sender, or it has ended.
  bool has_acted() const noexcept {
    return moved_ > 0 || !kept_.empty() || in_pipe_ > 0 || has_ended();
  }
  // Written to the receiver, exactly.
  std::uint64_t moved() const noexcept { return moved_; }

 private:
  enum class State : std::uint8_t { unused, running, ended };
  enum class Next : std::uint8_t { go_on, wait_read, wait_write, wait_turn, over };
  enum class Broken : std::uint8_t { sender, receiver };

  Socket& from() const noexcept;
  Socket& to() const noexcept;

  void go(std::string_view first = {}) noexcept;
  void run(std::string_view first);
  void wait(Next what);
  void wait_for_turn();
  void woken(const ErrorCode& error) noexcept;
  void turn_comes() noexcept;

  Next read();
  Next read_into_pipe();
  Next pass_on(std::string_view bytes);
  Next write_kept();
  Next write(std::string_view& bytes);
  Next write_from_pipe();
  Next meter(std::size_t wanted);
  void wrote(std::size_t size) noexcept;
  void note_read(std::size_t size) noexcept;
  void leave_pipe() noexcept;

  Next end_of_file() noexcept;
  Next broken(Broken side) noexcept;
  void end() noexcept;
  void tell_end() noexcept;

  Relay& relay_;
  Session& session_;
  const metrics::Direction direction_;
  State state_ = State::unused;
  bool held_ = false;
  bool ready_ = false;  // woken while it was held
  bool begun_ = false;
  bool stopping_ = false;
  bool bulk_ = false;
  std::uint8_t small_reads_ = 0;  // one after another, while it moves bulk
  std::uint32_t streak_ = 0;      // bytes of large reads, one after another, before that
  std::uint64_t moved_ = 0;
  std::size_t at_once_ = 0;  // moved since it was woken
  std::size_t granted_ = 0;  // may leave, by the agent's limits

  // Kept until the receiver takes it, in memory or in the pipe.
  std::unique_ptr<char[]> buffer_;
  std::string_view kept_;
  std::optional<Pipe> pipe_;
  std::size_t in_pipe_ = 0;

  // Of one that waits for its turn under a limit of bandwidth.
  struct Turn {
    explicit Turn(asio::io_context& io) : timer(io) {}
    Timer timer;
    Clock::time_point at;
    Grant grant;
  };
  std::unique_ptr<Turn> turn_;
};

}  // namespace sluice::proxy
