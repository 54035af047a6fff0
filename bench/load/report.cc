#include "bench/load/report.h"

#include <fmt/core.h>

#include <cstdio>

#include "base/text.h"

namespace sluice::bench {
namespace {

std::string_view name_of(Via via) {
  if (via == Via::sni) return "sni";
  return via == Via::direct ? "direct" : "connect";
}

}  // namespace

Report::Report(const Options& options) {
  add("mode", std::string_view(options.mode));
  add("via", name_of(options.via));
}

void Report::key(std::string_view name) {
  if (text_.size() > 1) text_ += ',';
  text_ += fmt::format("\"{}\":", name);
}

Report& Report::add(std::string_view name, std::string_view text) {
  key(name);
  text_ += '"';
  text::append_json(text_, text);
  text_ += '"';
  return *this;
}

Report& Report::add(std::string_view name, std::uint64_t number) {
  key(name);
  text_ += fmt::format("{}", number);
  return *this;
}

Report& Report::add(std::string_view name, double number) {
  key(name);
  text_ += fmt::format("{:.4f}", number);
  return *this;
}

Report& Report::add(std::string_view prefix, const Tally& tally) {
  const auto name = [prefix](std::string_view key) { return fmt::format("{}{}", prefix, key); };
  add(name("operations"), tally.operations);
  add(name("seconds"), tally.seconds);
  add(name("rate"), tally.seconds > 0 ? static_cast<double>(tally.operations) / tally.seconds : 0);
  add(name("p50_us"), tally.latency.quantile_us(0.5));
  add(name("p90_us"), tally.latency.quantile_us(0.9));
  add(name("p99_us"), tally.latency.quantile_us(0.99));
  return errors(tally.errors, tally.first_error);
}

Report& Report::add(const ProcessorTime& used) {
  add("cpu_user_s", used.user);
  return add("cpu_system_s", used.system);
}

Report& Report::errors(std::uint64_t count, std::string_view first) {
  errors_ += count;
  if (first_error_.empty()) first_error_ = first;
  return *this;
}

int Report::print() {
  add("errors", errors_);
  if (errors_ > 0) add("first_error", std::string_view(first_error_));
  text_ += '}';
  std::puts(text_.c_str());
  return errors_ > 0 ? 1 : 0;
}

}  // namespace sluice::bench
