// Where a supervisor tells how its run is, and is told to end it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sessions/run_status.h"

namespace sluice::launcher {

// How a run is told to end: by SIGTERM and, five seconds later, SIGKILL; or by SIGKILL.
enum class Stop : std::uint8_t { gently, now };

// What a visitor says: one line, then it waits for the other side to close.
inline constexpr std::string_view ask_for_status = "status\n";
inline constexpr std::string_view ask_for_stop = "stop\n";
inline constexpr std::string_view ask_for_stop_now = "stop now\n";

class Door {
 public:
  // `listener` is a RunSocket's, which outlives the door.
  static Result<Door> open(int listener);

  // Readable when serve() has something to do.
  int fd() const noexcept { return events_.get(); }
  // Serves those who have come, the supervisor's own user and root: a status is answered as
  // encode() writes it; who asks for a stop is answered by the end of the connection, when this
  // process has ended. Of 16 visitors at once the oldest makes room. Never blocks.
  std::optional<Stop> serve(const RunStatus& status);

 private:
  struct Visitor {
    Fd connection;
    std::string said;
    bool is_waiting = false;  // for the end
  };

  Door(Fd events, int listener) : events_(std::move(events)), listener_(listener) {}
  void accept_all();
  std::optional<Stop> hear(std::uint64_t number, const RunStatus& status);

  Fd events_;
  int listener_ = -1;
  std::uint64_t next_ = 1;
  std::map<std::uint64_t, Visitor> visitors_;  // by order of arrival
};

}  // namespace sluice::launcher
