// Watches how much an agent writes to an overlay's upper layer on disk, where no tmpfs enforces a
// cap.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/roots/sub_ids.h"

namespace sluice::launcher {

// A process of its own, outside of the sandbox, in a user namespace in which it may enter what the
// agent has closed. It looks at the file system's room ten times a second, and at the layer when
// that fell by what the agent has left, and else so seldom that it takes a tenth of a processor at
// most. An agent that writes faster gets as far beyond the cap as it comes in such a time.
class LayerWatch {
 public:
  // `upper` is the layer; `ids` are those that the agent has besides the caller's.
  static Result<LayerWatch> start(int upper, std::uint64_t bytes, const std::optional<SubIds>& ids);
  LayerWatch(LayerWatch&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), said_(std::move(other.said_)) {}
  LayerWatch(const LayerWatch&) = delete;
  LayerWatch& operator=(const LayerWatch&) = delete;
  LayerWatch& operator=(LayerWatch&&) = delete;
  ~LayerWatch();

  // Of a child that was reaped, which is perhaps this one.
  void on_child(pid_t pid) noexcept;
  // Readable when the agent must end.
  int fd() const noexcept { return said_.get(); }
  // Then: why. Also a watch that died is why.
  std::string why() const;

 private:
  LayerWatch(pid_t pid, Fd said) : pid_(pid), said_(std::move(said)) {}

  pid_t pid_;
  Fd said_;
};

}  // namespace sluice::launcher
