#include "proxy/daemon/policy_reload.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>

#include "base/log.h"
#include "base/signals.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t most_told = 20;
constexpr int most_disturbed = 20;
constexpr int grave_pause = 500;  // milliseconds; only while an old policy is still held

void tell_log(log::Level level, const std::vector<Error>& errors) {
  for (std::size_t i = 0; i < std::min(errors.size(), most_told); ++i) {
    log::write(level, without_kind(errors[i]));
  }
  if (errors.size() > most_told) {
    log::write(level, fmt::format("{} more are in 'sluice policy check' and in /api/v1/policy",
                                  errors.size() - most_told));
  }
}

int milliseconds_until(Clock::time_point when) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - Clock::now());
  return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
}

}  // namespace

PolicyReload::PolicyReload(const PolicyEdition& in_force, Tell tell, Options options)
    : path_(in_force.path),
      tell_(std::move(tell)),
      options_(options),
      watch_(path_, options.most_watches),
      bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      in_force_(in_force.digest),
      policy_(in_force.policy) {}

Result<std::unique_ptr<PolicyReload>> PolicyReload::start(const PolicyEdition& in_force, Tell tell,
                                                          Options options) {
  std::unique_ptr<PolicyReload> reload(new PolicyReload(in_force, std::move(tell), options));
  if (!reload->bell_) return fail_errno(Errc::unavailable, "eventfd");
  reload->thread_ = start_without_signals<std::thread>([&reload = *reload] { reload.run(); });
  return reload;
}

PolicyReload::~PolicyReload() {
  stopping_ = true;
  ask();
  if (thread_.joinable()) thread_.join();
}

void PolicyReload::ask() noexcept {
  if (bell_) ::eventfd_write(bell_.get(), 1);
}

void PolicyReload::run() {
  // The first time for what changed between the reading at the start and the first watch.
  for (Wake why = Wake::changed; why != Wake::stop; why = wait()) {
    try {
      read(why);
    } catch (const std::exception& error) {  // no memory, above all
      fail({{Errc::unavailable,
             fmt::format("the policy cannot be read: {}", error.what()),
             "",
             {}}});
    }
  }
}

PolicyReload::Wake PolicyReload::wait() {
  std::optional<Clock::time_point> first;
  Clock::time_point due;
  for (;;) {
    std::array<pollfd, 2> fds = {{{bell_.get(), POLLIN, 0}, {watch_.fd(), POLLIN, 0}}};
    bury();
    const int patience = retired_.empty() ? -1 : grave_pause;
    const int timeout = first ? milliseconds_until(due) : patience;
    if (::poll(fds.data(), fds.size(), timeout) == 0) {
      if (first) return Wake::changed;
      continue;
    }
    eventfd_t rung = 0;
    if (::eventfd_read(bell_.get(), &rung) == 0) return stopping_ ? Wake::stop : Wake::asked;
    if ((fds[1].revents & POLLIN) == 0 || !watch_.heard()) continue;
    const auto now = Clock::now();
    if (!first) first = now;
    due = std::min(now + options_.quiet, *first + options_.longest);
  }
}

void PolicyReload::bury() {
  std::erase_if(retired_, [](const auto& policy) { return policy.use_count() == 1; });
}

void PolicyReload::watch() {
  const auto watched = watch_.establish();
  if (watched || std::exchange(watch_failure_told_, true)) return;
  log::warning("{}", without_kind(watched.error()));
}

void PolicyReload::fail(std::vector<Error> errors) {
  tell_log(log::Level::error, errors);
  log::error("the policy was not reloaded and stays as it was");
  tell_({.outcome = {.ok = false, .errors = std::move(errors)}, .edition = std::nullopt});
}

// Half of one edition and half of the next are neither: what changed while it was read is read
// again.
Result<std::vector<allowlists::Source>> PolicyReload::read_undisturbed() {
  for (int disturbed = 0;; ++disturbed) {
    watch();
    auto sources = allowlists::read_sources(path_);
    // The last time, what was heard stays in the watch: it is one more reading soon.
    if (disturbed == most_disturbed || !watch_.heard()) return sources;
  }
}

void PolicyReload::read(Wake why) {
  const auto sources = read_undisturbed();
  const std::string digest = sources ? digest_of(*sources) : to_string(sources.error());
  const bool is_in_force = sources && digest == in_force_;
  const bool is_known = is_in_force ? last_failed_.empty() : digest == last_failed_;
  if (is_known && why != Wake::asked) return;
  if (is_in_force) {
    last_failed_.clear();
    log::info("the policy is what it was");
    tell_({});
    return;
  }
  last_failed_ = digest;
  if (!sources) {
    fail({sources.error()});
    return;
  }
  auto edition = make_edition(path_, *sources);
  if (!edition) {
    fail(std::move(edition.error()));
    return;
  }
  last_failed_.clear();
  in_force_ = digest;
  retired_.push_back(std::exchange(policy_, edition->policy));
  tell_log(log::Level::warning, edition->warnings);
  tell_({.outcome = {}, .edition = std::move(*edition)});
}

}  // namespace sluice::proxy
