#include "launcher/options.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "base/units.h"
#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

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

Result<TmpfsOption> parse_sized_path(std::string_view text, std::string_view what) {
  const std::size_t colon = text.rfind(':');
  auto path = parse_inside_path(text.substr(0, colon), what);
  if (!path) return Failure(path.error());
  if (colon == std::string_view::npos) return TmpfsOption{*path, default_tmpfs_bytes};
  const auto bytes = parse_size(text.substr(colon + 1));
  if (!bytes) return Failure(bytes.error());
  return TmpfsOption{*path, *bytes};
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto bytes = units::bytes(text);
  if (!bytes || *bytes < smallest_size || *bytes > largest_size) {
    return fail(Errc::bad_config, fmt::format("'{}' is not a size", text::printable(text)),
                "write a number of at least 4096 bytes: 4096, 64KiB, 256MiB, 2GiB");
  }
  return *bytes;
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto duration = units::duration(text);
  if (!duration || *duration == std::chrono::milliseconds::zero()) {
    return fail(Errc::bad_config, fmt::format("'{}' is not a duration", text::printable(text)),
                "write a number and a unit: 500ms, 30s, 10m, 2h, 1d");
  }
  return *duration;
}

Result<TmpfsOption> parse_tmpfs(std::string_view text) {
  return parse_sized_path(text, "the tmpfs");
}

Result<TmpfsOption> parse_seed(std::string_view text) { return parse_sized_path(text, "the seed"); }

Result<std::string> parse_mask(std::string_view text) {
  return parse_inside_path(text, "the mask");
}

Result<Tty> parse_tty(std::string_view text) {
  if (text == "auto") return Tty::as_caller;
  if (text == "yes") return Tty::yes;
  if (text == "no") return Tty::no;
  return fail(Errc::bad_config,
              fmt::format("'{}' is not a choice of terminal", text::printable(text)),
              "--tty auto, --tty yes or --tty no");
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
