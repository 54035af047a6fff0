#include "base/units.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace sluice::units {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

template <std::size_t n>
std::optional<std::uint64_t> number_with_unit(std::string_view text,
                                              const std::array<Unit, n>& units) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest == text.data()) return std::nullopt;
  const std::string_view name(rest, static_cast<std::size_t>(end - rest));
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& one) { return one.name == name; });
  std::uint64_t product = 0;
  if (unit == units.end() || __builtin_mul_overflow(value, unit->factor, &product)) {
    return std::nullopt;
  }
  return product;
}

constexpr std::uint64_t kib = 1024;
constexpr std::array size_units = {Unit{"", 1},
                                   Unit{"B", 1},
                                   Unit{"K", kib},
                                   Unit{"KiB", kib},
                                   Unit{"M", kib* kib},
                                   Unit{"MiB", kib* kib},
                                   Unit{"G", kib* kib* kib},
                                   Unit{"GiB", kib* kib* kib},
                                   Unit{"T", kib* kib* kib* kib},
                                   Unit{"TiB", kib* kib* kib* kib}};

constexpr std::uint64_t day_ms = 86'400'000;
constexpr std::array duration_units = {Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60'000},
                                       Unit{"h", 3'600'000}, Unit{"d", day_ms}};

// In the largest unit of which it is a whole number; of two names for one, the last.
template <std::size_t n>
std::string with_unit(std::uint64_t value, const std::array<Unit, n>& units) {
  const auto fits = [&](const Unit& one) { return value != 0 && value % one.factor == 0; };
  const auto unit = std::find_if(units.rbegin(), units.rend(), fits);
  return fmt::format("{}{}", value / unit->factor, unit->name);
}

// Nothing unless all of `text` is digits.
std::optional<std::uint32_t> whole_number(std::string_view text) noexcept {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || error != std::errc() || rest != end) return std::nullopt;
  return number;
}

}  // namespace

std::optional<std::uint64_t> bytes(std::string_view text) noexcept {
  return number_with_unit(text, size_units);
}

std::optional<std::chrono::milliseconds> duration(std::string_view text) noexcept {
  constexpr std::uint64_t longest = 366 * day_ms;
  const auto ms = number_with_unit(text, duration_units);
  if (!ms || *ms > longest) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(*ms));
}

std::optional<std::uint32_t> thousandths(std::string_view text) noexcept {
  constexpr std::uint32_t most = 8192;
  const std::size_t point = text.find('.');
  const auto whole = whole_number(text.substr(0, point));
  if (!whole || *whole > most) return std::nullopt;
  std::uint32_t part = 0;
  if (point != std::string_view::npos) {
    const std::string_view decimals = text.substr(point + 1);
    const auto digits = whole_number(decimals);
    if (!digits || decimals.size() > 3) return std::nullopt;
    part = *digits;
    for (std::size_t i = decimals.size(); i < 3; ++i) part *= 10;
  }
  const std::uint32_t sum = *whole * 1000 + part;
  return sum <= most * 1000 ? std::optional(sum) : std::nullopt;
}

std::string bytes_text(std::uint64_t bytes) {
  return bytes == 0 ? "0" : with_unit(bytes, size_units);
}

std::string duration_text(std::chrono::milliseconds duration) {
  const auto count = static_cast<std::uint64_t>(duration.count());
  return count == 0 ? "0s" : with_unit(count, duration_units);
}

std::string thousandths_text(std::uint32_t thousandths) {
  std::string text = fmt::format("{}.{:03}", thousandths / 1000, thousandths % 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

}  // namespace sluice::units
