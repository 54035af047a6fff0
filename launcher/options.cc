#include "launcher/options.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"
#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Digits, then one of `units`; nothing when it is not that or does not fit 64 bits.
template <std::size_t n>
std::optional<std::uint64_t> parse_with_unit(std::string_view text,
                                             const std::array<Unit, n>& units) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || text.empty()) return std::nullopt;
  const std::string_view name(rest, static_cast<std::size_t>(end - rest));
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
  if (unit == units.end()) return std::nullopt;
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(value, unit->factor, &product)) return std::nullopt;
  return product;
}

constexpr std::uint64_t kib = 1024;
constexpr std::array<Unit, 10> size_units{{{"", 1},
                                           {"B", 1},
                                           {"K", kib},
                                           {"KiB", kib},
                                           {"M", kib* kib},
                                           {"MiB", kib* kib},
                                           {"G", kib* kib* kib},
                                           {"GiB", kib* kib* kib},
                                           {"T", kib* kib* kib* kib},
                                           {"TiB", kib* kib* kib* kib}}};
constexpr std::array<Unit, 4> duration_units{
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}}};
constexpr std::uint64_t longest_duration_ms = std::uint64_t{366} * 24 * 3'600'000;
constexpr std::uint64_t smallest_size = 4096;
constexpr std::uint64_t largest_size = std::uint64_t{1} << 50;

Result<std::string> parse_inside_path(std::string_view text, std::string_view what) {
  if (!text.starts_with('/')) {
    return fail(Errc::bad_config,
                fmt::format("{} '{}' is not absolute", what, text::printable(text)),
                "paths inside the sandbox begin with '/'");
  }
  return absolute(text);
}

std::vector<std::string_view> split_colons(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t colon = text.find(':');
    parts.push_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return parts;
    text.remove_prefix(colon + 1);
  }
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto bytes = parse_with_unit(text, size_units);
  if (!bytes || *bytes < smallest_size || *bytes > largest_size) {
    return fail(Errc::bad_config, fmt::format("'{}' is not a size", text::printable(text)),
                "write a number of at least 4096 bytes: 4096, 64KiB, 256MiB, 2GiB");
  }
  return *bytes;
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto ms = parse_with_unit(text, duration_units);
  if (!ms || *ms == 0 || *ms > longest_duration_ms) {
    return fail(Errc::bad_config, fmt::format("'{}' is not a duration", text::printable(text)),
                "write a number and a unit: 500ms, 30s, 10m, 2h");
  }
  return std::chrono::milliseconds(*ms);
}

Result<TmpfsOption> parse_tmpfs(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  auto path = parse_inside_path(text.substr(0, colon), "the tmpfs");
  if (!path) return Failure(path.error());
  if (colon == std::string_view::npos) return TmpfsOption{*path, default_tmpfs_bytes};
  const auto bytes = parse_size(text.substr(colon + 1));
  if (!bytes) return Failure(bytes.error());
  return TmpfsOption{*path, *bytes};
}

Result<BindOption> parse_bind(std::string_view text) {
  std::vector<std::string_view> parts = split_colons(text);
  BindOption bind;
  if (parts.size() > 1 && (parts.back() == "ro" || parts.back() == "rw")) {
    bind.access = parts.back() == "rw" ? Access::read_write : Access::read_only;
    parts.pop_back();
  }
  if (parts.size() > 2 || parts.front().empty()) {
    return fail(Errc::bad_config, fmt::format("'{}' is not a bind", text::printable(text)),
                "write SRC, SRC:DST or SRC:DST:rw");
  }
  bind.source = parts.front();
  if (parts.size() == 1) {
    bind.destination = absolute(parts.front());
    return bind;
  }
  auto destination = parse_inside_path(parts.back(), "the bind's destination");
  if (!destination) return Failure(destination.error());
  bind.destination = *destination;
  return bind;
}

Result<std::string> parse_environment_name(std::string_view text) {
  const auto is_name_byte = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (text.empty() || (text.front() >= '0' && text.front() <= '9') ||
      !std::all_of(text.begin(), text.end(), is_name_byte)) {
    return fail(Errc::bad_config,
                fmt::format("'{}' is not the name of a variable", text::printable(text)),
                "letters, digits and '_', not a digit first");
  }
  return std::string(text);
}

Result<std::pair<std::string, std::string>> parse_environment(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return fail(Errc::bad_config, fmt::format("'{}' has no '='", text::printable(text)),
                "write --env NAME=VALUE, or --pass-env NAME to hand on your own value");
  }
  auto name = parse_environment_name(text.substr(0, equals));
  if (!name) return Failure(name.error());
  return std::pair{*name, std::string(text.substr(equals + 1))};
}

}  // namespace sluice::launcher
