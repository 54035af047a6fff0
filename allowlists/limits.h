// How much an agent may use of what it may reach (policy language, `limits:`).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace sluice::allowlists {

// At most `count` in any stretch of `per`, evenly refilled: a token bucket of `count`.
struct Rate {
  std::uint32_t count = 0;
  std::chrono::seconds per{1};
  friend bool operator==(const Rate&, const Rate&) = default;
};

// At most `bytes` in each window of `per`; windows begin at whole multiples of it in UTC.
struct Budget {
  std::uint64_t bytes = 0;
  std::chrono::seconds per{86'400};
  friend bool operator==(const Budget&, const Budget&) = default;
};

// What is empty is not limited.
struct Limits {
  std::optional<std::uint32_t> connections;  // of the agent, open at once
  std::optional<Rate> connects;              // connections to origins, begun
  std::optional<Budget> upload;              // bytes from the agent to origins
  std::optional<Budget> download;
  std::optional<std::uint64_t> bandwidth;  // bytes a second, in each direction
  friend bool operator==(const Limits&, const Limits&) = default;
};

}  // namespace sluice::allowlists
