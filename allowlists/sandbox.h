// How an agent's sandbox is to be made (policy language, `sandbox:`): what `sluice run` may tighten
// and never loosen.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::allowlists {

// What the language takes; the options of `sluice run` take the same.
inline constexpr std::uint64_t smallest_sandbox_size = 4096;
inline constexpr std::uint64_t largest_sandbox_size = std::uint64_t{1} << 50;
inline constexpr std::uint64_t smallest_memory = std::uint64_t{16} * 1024 * 1024;
inline constexpr std::uint32_t smallest_cpu_thousandths = 10;
inline constexpr std::uint32_t largest_io_weight = 10'000;  // cgroup-v2.rst, io.weight
inline constexpr std::uint32_t fewest_pids = 8;
inline constexpr std::uint32_t most_pids = 4'194'304;  // PID_MAX_LIMIT of Linux

// A path inside the sandbox, absolute or below the caller's home directory ("~/…").
struct SizedPath {
  std::string path;
  std::optional<std::uint64_t> bytes;  // nothing: as much as without the policy
  friend bool operator==(const SizedPath&, const SizedPath&) = default;
};

// What is empty is left to whoever starts the run.
struct Sandbox {
  std::optional<std::uint64_t> memory;           // bytes
  std::optional<std::uint64_t> swap{};           // bytes, only beside memory
  std::optional<std::uint32_t> cpu_thousandths;  // of one processor's time
  std::optional<std::uint32_t> io_weight{};      // 1 to largest_io_weight
  std::optional<std::uint32_t> pids;             // processes and threads
  std::optional<std::chrono::milliseconds> timeout;
  std::vector<SizedPath> tmpfs;
  std::vector<SizedPath> seeds;
  std::vector<std::string> masks;
  std::vector<std::string> protects;  // relative to the workspace, is_path_of_workspace()
  bool requires_landlock = false;

  bool empty() const { return *this == Sandbox{}; }
  friend bool operator==(const Sandbox&, const Sandbox&) = default;
};

// Relative, and no component is empty, "." or "..": "a/b", not "/a", "~/a" or "a/".
bool is_path_of_workspace(std::string_view path);

// The form in which a sluiced tells a supervisor (handover protocol, "sandbox"): a JSON object.
std::string to_json(const Sandbox& sandbox);
// Unknown keys and wrong types are errors: a sluiced that asks for more than this program knows is
// not to be obeyed by half.
Result<Sandbox> sandbox_from_json(std::string_view text);

}  // namespace sluice::allowlists
