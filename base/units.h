// Reads the sizes and durations that an operator writes, and writes them so.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::units {

// Bytes: a whole number and one of B, KiB, MiB, GiB, TiB, or K, M, G, T for the same powers of
// 1024; without a unit, bytes. Nothing: none of these, or more than 64 bits hold.
std::optional<std::uint64_t> bytes(std::string_view text) noexcept;

// "250ms", "10s", "5m", "1h", "1d": a whole number and a unit; at most 366d. Nothing: none of
// these.
std::optional<std::chrono::milliseconds> duration(std::string_view text) noexcept;

// "2", "1.5", "0.25": a number of processors with at most three decimals, in thousandths. Nothing:
// none of these, or more than 8192.
std::optional<std::uint32_t> thousandths(std::string_view text) noexcept;

// The shortest that bytes(), duration() and thousandths() read as the same: "2GiB", "1536KiB",
// "90s", "1.5". A duration of nothing is "0s".
std::string bytes_text(std::uint64_t bytes);
std::string duration_text(std::chrono::milliseconds duration);
std::string thousandths_text(std::uint32_t thousandths);

}  // namespace sluice::units
