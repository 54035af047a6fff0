// Tells an agent's denials to the person, and to the agent in /run/sluice/denials.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace sluice::launcher {

// How many lines a person is shown: the first 20, then one a second with the number left out. Pure.
class LineLimit {
 public:
  using Clock = std::chrono::steady_clock;

  // Nothing: not now. Else how many lines were left out before this one.
  std::optional<std::uint64_t> admit(Clock::time_point now) noexcept;
  // Left out since the last admitted line.
  std::uint64_t left_out() const noexcept { return left_out_; }

 private:
  static constexpr std::uint64_t burst = 20;
  static constexpr std::chrono::seconds pause{1};
  std::uint64_t admitted_ = 0;
  std::uint64_t left_out_ = 0;
  Clock::time_point last_;
};

class Denials {
 public:
  // `file` is the write end inside the sandbox; 64 KiB are written to it, then one line that says
  // so.
  explicit Denials(Fd file) : file_(std::move(file)) {}

  // Answers the line for the person's stderr, without its line feed, if one is due.
  std::optional<std::string> add(std::string_view sentence, LineLimit::Clock::time_point now);
  std::uint64_t left_out() const noexcept { return limit_.left_out(); }

 private:
  void append(std::string_view sentence);
  Fd file_;
  std::size_t written_ = 0;
  bool full_ = false;
  LineLimit limit_;
};

}  // namespace sluice::launcher
