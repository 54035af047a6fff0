#include "metrics/path_counts.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "metrics/families.h"

namespace sluice::metrics {
namespace {

using namespace std::chrono_literals;

constexpr std::array<std::chrono::nanoseconds, 10> decision_bounds = {
    250ns, 500ns, 1us, 2500ns, 5us, 10us, 25us, 100us, 1ms, 10ms};
constexpr std::array<std::chrono::nanoseconds, 14> network_bounds = {
    250us, 500us, 1ms, 2500us, 5ms, 10ms, 25ms, 50ms, 100ms, 250ms, 500ms, 1s, 2500ms, 10s};
static_assert(decision_bounds.size() <= Histogram::most_bounds);
static_assert(network_bounds.size() <= Histogram::most_bounds);

// The last one stands for all others.
constexpr std::array connect_errors = {Reason::connect_refused, Reason::connect_timeout,
                                       Reason::unreachable, Reason::internal};
constexpr std::array<std::string_view, resolver_failure_count> resolver_failure_names = {
    "timeout", "no_address", "server", "bounded"};

}  // namespace

PathCounts::PathCounts() noexcept
    : decisions_(decision_bounds), connects_(network_bounds), questions_(network_bounds) {
  static_assert(connect_errors.size() == connect_error_count);
}

void PathCounts::connect_failed(Reason error) noexcept {
  const auto* const found = std::find(connect_errors.begin(), connect_errors.end(), error);
  const auto place = static_cast<std::size_t>(found - connect_errors.begin());
  connect_failures_.add(std::min(place, connect_errors.size() - 1), 1);
}

void PathCounts::resolving_failed(ResolverFailure kind) noexcept {
  resolver_failures_.add(static_cast<std::size_t>(kind), 1);
}

void PathCounts::show(Families& page) const {
  page.counter({"sluice_spliced_bytes_total",
                "Of sluice_bytes_total, those that the kernel moved by splice(2)."},
               static_cast<double>(spliced_.sums()[0]));
  page.histogram({"sluice_decision_duration_seconds", "From a target to the policy's verdict."},
                 decisions_);
  page.histogram({"sluice_connect_duration_seconds",
                  "From an attempt's first connect(2) to a connection that stands."},
                 connects_);
  page.begin(Families::Type::counter,
             {"sluice_connect_failures_total", "Attempts to connect that failed, by error."});
  const auto failures = connect_failures_.sums();
  for (std::size_t i = 0; i < failures.size(); ++i) {
    page.value(static_cast<double>(failures[i]), {{"error", reason_name(connect_errors[i])}});
  }
  page.histogram({"sluice_resolver_duration_seconds",
                  "From a question to name servers to their answer, whatever it was."},
                 questions_);
  page.begin(Families::Type::counter,
             {"sluice_resolver_failures_total", "Names that gave no address, by why."});
  const auto unresolved = resolver_failures_.sums();
  for (std::size_t i = 0; i < unresolved.size(); ++i) {
    page.value(static_cast<double>(unresolved[i]), {{"kind", resolver_failure_names[i]}});
  }
}

}  // namespace sluice::metrics
