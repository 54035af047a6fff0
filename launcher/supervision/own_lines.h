// Says sluice's lines between those of the agent's, on the stream that both go to: a program that
// writes its messages character by character (curl) gets none of ours into the middle of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::launcher {

// One of ours comes where a line of theirs has ended; at the latest after longest_wait, and at the
// end: then on a line of its own.
class OwnLines {
 public:
  using Clock = std::chrono::steady_clock;
  using Write = std::function<void(std::string_view ours)>;
  static constexpr std::chrono::seconds longest_wait{2};
  static constexpr std::size_t most_waiting = std::size_t{64} * 1024;  // bytes

  explicit OwnLines(Write write) : write_(std::move(write)) {}

  // A whole line, with its end.
  void say(std::string_view line, Clock::time_point now);
  // What they said goes to bool write(std::string_view), which answers false when nobody reads
  // any more; so does this.
  template <typename Theirs>
  bool pass(std::string_view said, Theirs write) {
    while (!said.empty()) {
      const std::string_view piece = said.substr(0, piece_of(said));
      if (!write(piece)) return false;
      on_passed(piece);
      said.remove_prefix(piece.size());
    }
    return true;
  }

  // When what waits waits no more.
  std::optional<Clock::time_point> due() const noexcept { return due_; }
  // Others are to wait with what they have to say.
  bool is_full() const noexcept { return waiting_.size() >= most_waiting; }
  // Says what is due.
  void tick(Clock::time_point now);
  // They say no more. `is_mid_line`: their last line, of which not all passed here, has no end.
  void end(bool is_mid_line);
  bool is_mid_line() const noexcept { return is_mid_line_; }

 private:
  std::size_t piece_of(std::string_view said) const noexcept;
  void on_passed(std::string_view piece);
  void flush();

  Write write_;
  bool is_mid_line_ = false;
  bool is_over_ = false;
  std::string waiting_;
  std::optional<Clock::time_point> due_;
};

}  // namespace sluice::launcher
