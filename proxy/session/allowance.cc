#include "proxy/session/allowance.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "allowlists/policy.h"

namespace sluice::proxy {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr std::string_view file_version = "sluice-budgets 1";
constexpr std::int64_t second_ns = 1'000'000'000;
// What may leave at once after a pause: enough that a tick of the clock costs no throughput.
constexpr std::int64_t burst_ns = second_ns / 4;
// Registered names are the operator's, yet a fleet may make new ones for ever.
constexpr std::size_t most_names = 100'000;

constexpr std::array<std::string_view, 2> direction_names = {"upload", "download"};

std::size_t index_of(metrics::Direction direction) { return static_cast<std::size_t>(direction); }

std::int64_t in_ns(Allowance::Steady::time_point now) {
  return std::chrono::duration_cast<nanoseconds>(now.time_since_epoch()).count();
}

std::int64_t window_number(std::int64_t length, Allowance::Utc::time_point now) {
  const auto since = std::chrono::floor<seconds>(now.time_since_epoch()).count();
  return since / length;
}

// Whether a window is the one of now. Also when it is the next one: a clock that was set back a
// little gives nobody a budget anew.
bool is_current(std::int64_t length, std::int64_t number, Allowance::Utc::time_point now) {
  const std::int64_t current = window_number(length, now);
  return number == current || number == current + 1;
}

// In ns.
std::int64_t time_for(std::uint64_t bytes, std::uint64_t per_second) {
  return static_cast<std::int64_t>(static_cast<double>(bytes) * second_ns /
                                   static_cast<double>(per_second));
}

// The next word of a line; empty at its end.
std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

template <class Number>
std::optional<Number> number_of(std::string_view digits) {
  Number number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

}  // namespace

void LiveLimits::set(const allowlists::Limits& limits) noexcept {
  const std::scoped_lock lock(mutex_);
  connections_ = limits.connections.value_or(0);
  bandwidth_ = limits.bandwidth.value_or(0);
  connects_ = limits.connects;
  budgets_ = {limits.upload, limits.download};
  for (std::size_t i = 0; i < budgets_.size(); ++i) has_budget_[i] = budgets_[i].has_value();
}

std::optional<allowlists::Rate> LiveLimits::connects() const noexcept {
  const std::scoped_lock lock(mutex_);
  return connects_;
}

std::optional<allowlists::Budget> LiveLimits::budget(metrics::Direction direction) const noexcept {
  if (!has_budget_[index_of(direction)]) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  return budgets_[index_of(direction)];
}

bool Allowance::may_connect(const allowlists::Rate& rate, Steady::time_point now) noexcept {
  const std::int64_t period = std::chrono::duration_cast<nanoseconds>(rate.per).count();
  const std::int64_t step = period / rate.count;
  const std::int64_t at = in_ns(now);
  std::int64_t due = connects_due_.load(std::memory_order_relaxed);
  for (;;) {
    const std::int64_t from = std::max(due, at);
    if (from - at > period - step) return false;
    if (connects_due_.compare_exchange_weak(due, from + step, std::memory_order_relaxed)) {
      return true;
    }
  }
}

Allowance::Steady::duration Allowance::pace(metrics::Direction direction, std::uint64_t per_second,
                                            std::uint64_t bytes, Steady::time_point now) noexcept {
  const std::int64_t cost = time_for(bytes, per_second);
  const std::int64_t at = in_ns(now);
  std::atomic<std::int64_t>& line = bytes_due_[index_of(direction)];
  std::int64_t due = line.load(std::memory_order_relaxed);
  std::int64_t from = 0;
  do {
    from = std::max(due, at - burst_ns);
  } while (!line.compare_exchange_weak(due, from + cost, std::memory_order_relaxed));
  return nanoseconds(std::max<std::int64_t>(from - at, 0));
}

void Allowance::leave_line(metrics::Direction direction, std::uint64_t per_second,
                           std::uint64_t bytes) noexcept {
  bytes_due_[index_of(direction)] -= time_for(bytes, per_second);
}

Allowance::Window& Allowance::window(metrics::Direction direction, const allowlists::Budget& budget,
                                     Utc::time_point now) noexcept {
  Window& window = windows_[index_of(direction)];
  const std::int64_t length = budget.per.count();
  if (window.length != length || !is_current(length, window.number, now)) {
    window = {length, window_number(length, now), 0, 0};
  }
  return window;
}

std::uint64_t Allowance::take(metrics::Direction direction, const allowlists::Budget& budget,
                              std::uint64_t wanted, Utc::time_point now) noexcept {
  const std::scoped_lock lock(mutex_);
  Window& current = window(direction, budget, now);
  const std::uint64_t left = budget.bytes - std::min(budget.bytes, current.used);
  const std::uint64_t granted = std::min(wanted, left);
  current.used += granted;
  current.untold += granted;
  return granted;
}

bool Allowance::is_used_up(metrics::Direction direction, const allowlists::Budget& budget,
                           Utc::time_point now) noexcept {
  const std::scoped_lock lock(mutex_);
  return window(direction, budget, now).used >= budget.bytes;
}

metrics::BudgetUses Allowance::uses(Utc::time_point now) const {
  metrics::BudgetUses uses;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const auto budget = limits.budget(metrics::Direction(i));
    if (!budget) continue;
    const std::int64_t length = budget->per.count();
    const std::scoped_lock lock(mutex_);
    const Window& last = windows_[i];
    const bool goes_on = last.length == length && is_current(length, last.number, now);
    const std::int64_t number = goes_on ? last.number : window_number(length, now);
    uses[i] = {.spent = goes_on ? last.used : 0,
               .limit = budget->bytes,
               .period = budget->per,
               .resets = Utc::time_point(seconds((number + 1) * length))};
  }
  return uses;
}

std::shared_ptr<Allowance> Allowances::of(const std::string& agent) {
  const std::scoped_lock lock(mutex_);
  if (by_name_.size() >= most_names) {
    std::erase_if(by_name_, [](const auto& one) { return one.second.use_count() == 1; });
  }
  std::shared_ptr<Allowance>& allowance = by_name_[agent];
  if (!allowance) allowance = std::make_shared<Allowance>();
  return allowance;
}

std::string Allowances::line_of(std::string_view name, std::size_t direction,
                                const Allowance::Window& window, std::uint64_t bytes) {
  return fmt::format("{} {} {} {} {}\n", name, direction_names[direction], window.length,
                     window.number, bytes);
}

std::string Allowances::save(Allowance::Utc::time_point now) const {
  const std::scoped_lock lock(mutex_);
  std::string text(file_version);
  text += '\n';
  for (const auto& [name, allowance] : by_name_) {
    const std::scoped_lock own_lock(allowance->mutex_);
    for (std::size_t i = 0; i < direction_names.size(); ++i) {
      const Allowance::Window& window = allowance->windows_[i];
      if (window.used == 0 || !is_current(window.length, window.number, now)) continue;
      text += line_of(name, i, window, window.used);
    }
  }
  return text;
}

void Allowances::tell_all() noexcept {
  const std::scoped_lock lock(mutex_);
  for (const auto& [name, allowance] : by_name_) {
    const std::scoped_lock own_lock(allowance->mutex_);
    for (Allowance::Window& window : allowance->windows_) window.untold = 0;
  }
}

std::string Allowances::take_untold(Allowance::Utc::time_point now) {
  const std::scoped_lock lock(mutex_);
  std::string text;
  for (const auto& [name, allowance] : by_name_) {
    const std::scoped_lock own_lock(allowance->mutex_);
    for (std::size_t i = 0; i < direction_names.size(); ++i) {
      Allowance::Window& window = allowance->windows_[i];
      const std::uint64_t untold = std::exchange(window.untold, 0);
      if (untold == 0 || !is_current(window.length, window.number, now)) continue;
      if (text.empty()) text = fmt::format("{}\n", file_version);
      text += line_of(name, i, window, untold);
    }
  }
  return text;
}

Result<void> Allowances::read(std::string_view text, Allowance::Utc::time_point now,
                              Reading reading) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (number == 1 && line == file_version) continue;
    const std::string_view name = next_word(line);
    const std::string_view direction = next_word(line);
    const auto length = number_of<std::int64_t>(next_word(line));
    const auto window = number_of<std::int64_t>(next_word(line));
    const auto used = number_of<std::uint64_t>(line);
    const auto* const known = std::find(direction_names.begin(), direction_names.end(), direction);
    if (number == 1 || !allowlists::is_agent_name(name) || known == direction_names.end() ||
        !length || *length <= 0 || !window || !used) {
      return fail(Errc::bad_config, fmt::format("line {} is not what was saved", number),
                  "remove the file: what agents used of their budgets counts from nothing then");
    }
    if (!is_current(*length, *window, now)) continue;
    const auto allowance = of(std::string(name));
    const std::scoped_lock lock(allowance->mutex_);
    Allowance::Window& here =
        allowance->windows_[static_cast<std::size_t>(known - direction_names.begin())];
    const bool adds = reading == Reading::more && here.length == *length && here.number == *window;
    // The other one's clock has not come as far.
    if (reading == Reading::more && !adds && here.length != 0 && here.number > *window) continue;
    here = {*length, *window, adds ? here.used + *used : *used, adds ? here.untold : 0};
  }
  return {};
}

}  // namespace sluice::proxy
