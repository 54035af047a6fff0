// Holds programs until the supervisor takes them, bounded: what does not fit is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "netns/seen_exec.h"

namespace sluice::launcher {

class Outbox {
 public:
  // Of JSON; some thousand usual programs.
  static constexpr std::size_t most_bytes = std::size_t{1024} * 1024;

  void put(netns::SeenExec seen);
  bool empty() const noexcept { return waiting_.empty() && left_out_ == 0; }
  // Worth a message, without waiting for more.
  bool has_much() const noexcept;
  // The next message, a netns::Event as the handover protocol writes it, with as many programs as
  // one message carries. Not to be called when empty().
  std::string take();

 private:
  struct Entry {
    netns::SeenExec seen;
    std::size_t size;
  };
  std::deque<Entry> waiting_;
  std::size_t bytes_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace sluice::launcher
