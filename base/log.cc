#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <string>

namespace sluice::log {
namespace {

std::atomic<Level> threshold{Level::warning};

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
    case Level::off:
      break;
  }
  return spdlog::level::off;
}

}  // namespace

void init(std::string_view program, Level level) {
  auto logger = std::make_shared<spdlog::logger>(std::string(program),
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%n: %l: %v");
  logger->set_level(to_spdlog(level));
  spdlog::set_default_logger(std::move(logger));
  threshold = level;
}

Level level() noexcept { return threshold.load(std::memory_order_relaxed); }

void write(Level level, std::string_view line) {
  spdlog::default_logger_raw()->log(to_spdlog(level), "{}", line);
}

}  // namespace sluice::log
