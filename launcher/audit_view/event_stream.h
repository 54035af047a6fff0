// Reads /api/v1/decisions as an event stream.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sluice::launcher {

struct StreamEvent {
  std::string name;
  std::string data;
};

// The events that are whole in `bytes`, which are taken from it; comments are passed over. Pure.
std::deque<StreamEvent> take_events(std::string& bytes);

// "17 lines were lost ...", of an event that tells what the stream has not; pure.
std::string missing_text(const StreamEvent& event);

class EventStream {
 public:
  // `connection` to an admin socket outlives it.
  explicit EventStream(int connection) : connection_(connection) {}

  // Asks for `target`. An error where the answer is no stream.
  Result<void> begin(const std::string& target);
  // The next event, for which it waits; nothing at the stream's end.
  Result<std::optional<StreamEvent>> next();
  bool has_more() const noexcept { return !events_.empty(); }

 private:
  // False at the end, or where nothing came in time.
  Result<bool> fill(int patience_ms);

  int connection_;
  std::string bytes_;
  std::deque<StreamEvent> events_;
};

}  // namespace sluice::launcher
