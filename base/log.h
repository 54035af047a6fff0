// Log facade: formats with fmt, hands one string to spdlog (keeps spdlog out of every other
// header).
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string_view>

namespace sluice::log {

enum class Level : std::uint8_t { debug, info, warning, error, off };

// Sends lines at or above `level` to stderr, each "sluiced: level: text". Call once, before
// threads.
void init(std::string_view program, Level level);
Level level() noexcept;

// Text an agent chose must be passed through text::printable() first.
void write(Level level, std::string_view line);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= Level::debug)
    write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= Level::info) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= Level::warning) {
    write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= Level::error)
    write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace sluice::log
