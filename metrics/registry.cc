#include "metrics/registry.h"

#include <algorithm>
#include <concepts>
#include <vector>

#include "metrics/agent_pages.h"
#include "metrics/agent_series.h"
#include "metrics/families.h"

namespace sluice::metrics {
namespace {

constexpr std::array<std::string_view, tunnel_end_count> tunnel_end_names = {
    "closed",         "agent_reset", "origin_reset", "idle",  "lifetime",
    "policy_changed", "budget",      "agent_gone",   "drain", "internal"};
constexpr std::string_view other_name = "other";

template <class Enum>
constexpr std::size_t index(Enum value) noexcept {
  return static_cast<std::size_t>(value);
}

void add(Counter& counter, std::uint64_t amount = 1) noexcept {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

std::uint64_t get(const Counter& counter) noexcept {
  return counter.load(std::memory_order_relaxed);
}

double as_number(std::integral auto count) noexcept { return static_cast<double>(count); }

struct PolicyNumbers {
  std::uint64_t rules = 0;
  std::uint64_t failed = 0;
  std::uint64_t succeeded = 0;
  bool current = false;
  double loaded_at = 0;
};

void add_policy(Families& page, const PolicyNumbers& policy) {
  page.gauge({"sluice_policy_rules", "Rules of the policy in force."}, as_number(policy.rules));
  page.begin(Families::Type::counter,
             {"sluice_policy_reloads_total", "Attempts to take a changed policy, by result."});
  page.value(as_number(policy.succeeded), {{"result", "success"}});
  page.value(as_number(policy.failed), {{"result", "failure"}});
  page.gauge({"sluice_policy_last_reload_successful",
              "1 while the policy in force is what its files said when they were last read."},
             policy.current ? 1 : 0);
  page.gauge({"sluice_policy_last_reload_success_timestamp_seconds",
              "When the files were last read and found good, since the epoch in seconds."},
             policy.loaded_at);
}

void add_process(Families& page, const ProcessUse& use) {
  page.begin(Families::Type::counter,
             {"process_cpu_seconds_total", "User and system CPU time spent in seconds."});
  page.value(use.cpu_seconds);
  page.gauge(
      {"process_start_time_seconds", "Start time of the process since the epoch in seconds."},
      use.start_time);
  if (use.resident_bytes) {
    page.gauge({"process_resident_memory_bytes", "Resident memory size in bytes."},
               *use.resident_bytes);
  }
  if (use.open_fds) page.gauge({"process_open_fds", "Open file descriptors."}, *use.open_fds);
  if (use.max_fds) page.gauge({"process_max_fds", "Limit of open file descriptors."}, *use.max_fds);
}

}  // namespace

Registry::Registry(RegistryOptions options)
    : options_(std::move(options)),
      all_(std::make_shared<AllAgents>()),
      other_(std::make_shared<AgentSeries>(std::string(other_name), all_, OfMany::yes)) {
  all_->now = options_.now;
}

Registry::~Registry() = default;

std::shared_ptr<AgentMetrics> Registry::agent(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (name == other_name) return std::make_shared<AgentMetrics>(other_);
  auto found = series_.find(name);
  if (found == series_.end()) {
    if (series_.size() >= options_.agent_cap) forget_gone();
    if (series_.size() >= options_.agent_cap) return std::make_shared<AgentMetrics>(other_);
    auto series = std::make_shared<AgentSeries>(std::string(name), all_, OfMany::no);
    const std::string_view key = series->name;
    found = series_.emplace(key, std::move(series)).first;
  }
  return std::make_shared<AgentMetrics>(found->second);
}

void Registry::connection(Via via) noexcept { connections_.add(index(via), 1); }

void Registry::set_tunnels_limit(std::uint64_t tunnels) noexcept {
  tunnels_limit_.store(tunnels, std::memory_order_relaxed);
}

void Registry::probed(Held held) noexcept {
  add(probes_[held ? 1 : 0]);
  probe_ok_.store(bool(held), std::memory_order_relaxed);
}

void Registry::set_policy_rules(std::size_t rules) noexcept {
  policy_rules_.store(rules, std::memory_order_relaxed);
}

void Registry::policy_loaded(std::chrono::system_clock::time_point at) noexcept {
  policy_current_.store(true, std::memory_order_relaxed);
  policy_loaded_at_.store(std::chrono::duration<double>(at.time_since_epoch()).count(),
                          std::memory_order_relaxed);
}

void Registry::policy_reloaded(Succeeded ok, std::chrono::system_clock::time_point at) noexcept {
  add(policy_reloads_[ok ? 1 : 0]);
  policy_current_.store(bool(ok), std::memory_order_relaxed);
  if (ok) policy_loaded(at);
}

// Under mutex_, as agent() is: a series is never taken up again while it is being forgotten.
void Registry::forget_gone() const {
  std::erase_if(series_, [&](const auto& entry) { return entry.second->gone_for(options_.grace); });
}

Registry::Shown Registry::shown() const {
  Shown shown;
  const std::lock_guard lock(mutex_);
  forget_gone();
  shown.reserve(series_.size() + 1);
  for (const auto& [name, series] : series_) shown.push_back(series);
  shown.push_back(other_);
  return shown;
}

std::string Registry::exposition() const {
  Families first;
  first.begin(Families::Type::gauge, {"sluice_build_info", "Always 1; the labels say what runs."});
  first.value(1, {{"version", options_.version}});
  first.gauge({"sluice_agents", "Agents registered or with a connection left."},
              as_number(all_->present.load()));
  first.begin(Families::Type::counter,
              {"sluice_connections_total", "Connections accepted, by entrance."});
  const auto connections = connections_.sums();
  for (const Via via : {Via::connect, Via::http, Via::socks5, Via::transparent, Via::dns}) {
    first.value(as_number(connections[index(via)]), {{"via", via_name(via)}});
  }

  const Shown agents = shown();
  AgentPages pages(agents.size());
  for (const auto& series : agents) pages.add(series->name, series->sums(), series->budgets());

  Families last;
  last.gauge({"sluice_tunnels_limit",
              "Connections that one agent may have at once, where its policy says nothing else."},
             as_number(get(tunnels_limit_)));
  path_.show(last);
  last.begin(Families::Type::counter, {"sluice_tunnel_ends_total", "Tunnels that ended, by why."});
  const auto ends = all_->tunnel_ends.sums();
  for (std::size_t i = 0; i < ends.size(); ++i) {
    last.value(as_number(ends[i]), {{"end", tunnel_end_names[i]}});
  }
  last.gauge({"sluice_containment_probe_ok",
              "1 unless the last containment check that a launcher told of found a way out."},
             probe_ok_.load(std::memory_order_relaxed) ? 1 : 0);
  last.begin(Families::Type::counter,
             {"sluice_containment_probes_total", "Containment checks told of, by result."});
  last.value(as_number(get(probes_[1])), {{"result", "held"}});
  last.value(as_number(get(probes_[0])), {{"result", "leaked"}});
  add_policy(last, {.rules = get(policy_rules_),
                    .failed = get(policy_reloads_[0]),
                    .succeeded = get(policy_reloads_[1]),
                    .current = policy_current_.load(std::memory_order_relaxed),
                    .loaded_at = policy_loaded_at_.load(std::memory_order_relaxed)});
  last.counter({"sluice_audit_lines_total", "Audit lines written."}, as_number(get(audit_->lines)));
  last.counter({"sluice_audit_dropped_total",
                "Audit lines lost because the queue was full or the file refused them."},
               as_number(get(audit_->dropped)));
  add_process(last, process_.use());
  return first.text().append(std::move(pages).text()).append(last.text());
}

}  // namespace sluice::metrics
