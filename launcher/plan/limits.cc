#include "launcher/plan/limits.h"

#include <fmt/core.h>

#include <array>
#include <charconv>

#include "base/text.h"
#include "base/units.h"
#include "launcher/options.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t least_memory = std::uint64_t{16} * 1024 * 1024;
constexpr std::uint32_t least_cpus = 10;
constexpr std::uint32_t most_cpus = 8'192'000;
constexpr std::uint64_t most_io_weight = 10'000;
constexpr std::uint64_t least_pids = 8;
constexpr std::uint64_t most_pids = 4'194'304;

// Nothing unless all of `text` is digits.
std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (text.empty() || read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

}  // namespace

Result<std::uint64_t> parse_memory(std::string_view text) {
  auto bytes = parse_size(text);
  if (!bytes) return Failure(bytes.error());
  if (*bytes < least_memory) {
    return fail(Errc::bad_config,
                fmt::format("a memory limit of '{}' is too small", text::printable(text)),
                "with less than 16MiB no sandbox can be made");
  }
  return bytes;
}

Result<std::uint64_t> parse_swap(std::string_view text) {
  if (text == "0") return 0;
  return parse_size(text);
}

Result<std::uint32_t> parse_io_weight(std::string_view text) {
  const auto number = whole_number(text);
  if (!number || *number < 1 || *number > most_io_weight) {
    return fail(Errc::bad_config, fmt::format("'{}' is not an I/O weight", text::printable(text)),
                "write a whole number from 1 to 10000; others have 100");
  }
  return static_cast<std::uint32_t>(*number);
}

Result<std::uint32_t> parse_cpus(std::string_view text) {
  const auto number = units::thousandths(text);
  if (!number || *number < least_cpus || *number > most_cpus) {
    return fail(Errc::bad_config,
                fmt::format("'{}' is not a number of CPUs", text::printable(text)),
                "write a number from 0.01 to 8192, with at most three decimals: 2, 0.5, 1.25");
  }
  return *number;
}

Result<std::uint64_t> parse_pids(std::string_view text) {
  const auto number = whole_number(text);
  if (!number || *number < least_pids || *number > most_pids) {
    return fail(Errc::bad_config,
                fmt::format("'{}' is not a number of processes", text::printable(text)),
                "write a whole number from 8 to 4194304; threads count as well");
  }
  return *number;
}

std::string size_in_words(std::uint64_t bytes) {
  constexpr std::array<std::pair<std::uint64_t, const char*>, 3> units{
      {{1ULL << 30, "GiB"}, {1ULL << 20, "MiB"}, {1ULL << 10, "KiB"}}};
  for (const auto& [unit, name] : units) {
    if (bytes >= unit && bytes % unit == 0) return fmt::format("{} {}", bytes / unit, name);
  }
  return fmt::format("{} bytes", bytes);
}

std::string cpus_in_words(std::uint32_t thousandths) {
  return units::thousandths_text(thousandths);
}

}  // namespace sluice::launcher
