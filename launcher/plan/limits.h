// What one agent may use of the machine at most, and how a person writes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sluice::launcher {

struct Limits {
  std::optional<std::uint64_t> memory;       // bytes, page cache and tmpfs files included
  std::optional<std::uint64_t> swap{};       // bytes, beside memory; nothing: none
  std::optional<std::uint32_t> cpus;         // thousandths of a CPU
  std::optional<std::uint32_t> io_weight{};  // 1 to 10000, where others have 100 (cgroup-v2.rst)
  std::optional<std::uint64_t> pids;  // processes and threads, the sandbox's own init included
};

// What stops a fork bomb where nobody asked for a limit.
inline constexpr std::uint64_t default_pids = 4096;

// As parse_size(), and at least 16 MiB: with less the sandbox itself cannot be made.
Result<std::uint64_t> parse_memory(std::string_view text);
// As parse_size(), or 0.
Result<std::uint64_t> parse_swap(std::string_view text);
// 1 to 10000.
Result<std::uint32_t> parse_io_weight(std::string_view text);
// A decimal number with at most three decimals, in thousandths: at least 0.01, at most 8192.
Result<std::uint32_t> parse_cpus(std::string_view text);
// At least 8, at most 4194304 (PID_MAX_LIMIT of Linux).
Result<std::uint64_t> parse_pids(std::string_view text);

std::string size_in_words(std::uint64_t bytes);  // "2 GiB", "1536 KiB", "5000 bytes", "0 bytes"
std::string cpus_in_words(std::uint32_t thousandths);  // "1.5"

}  // namespace sluice::launcher
