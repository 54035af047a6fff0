// Tries something in a child process that is given only so much time.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/error.h"

namespace sluice {

// What a child says by `tell`, a line each; it may fork others, which hold the same pipe.
using Tell = std::function<void(const std::string& line)>;

struct Told {
  std::string text;          // at most 64 KiB
  bool is_finished = false;  // within the time
};

// Runs `work` in a child with a process group of its own and reads what it tells until it and all
// that it forked have ended. After `patience` the whole group is killed (kill(2)). The child dies
// with the calling thread. The caller must have one thread only.
Result<Told> in_bounded_child(std::chrono::milliseconds patience,
                              const std::function<void(const Tell&)>& work);

}  // namespace sluice
