#include "metrics/registry.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <span>
#include <sstream>
#include <vector>

namespace sluice::metrics {
namespace {

using Counter = std::atomic<std::uint64_t>;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr std::size_t verdict_count = 3;
constexpr std::array all_verdicts = {Verdict::allow, Verdict::report, Verdict::deny};
constexpr std::array<std::string_view, 2> direction_names = {"up", "down"};
constexpr std::array<std::string_view, dns_outcome_count> dns_outcome_names = {
    "answered", "no_data", "refused", "malformed", "exhausted"};
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

// A failure carries the verdict that let it through; sluiced's own may also come before a verdict.
constexpr bool can_occur(Verdict verdict, Reason reason) noexcept {
  switch (verdict) {
    case Verdict::allow:
      return reason == Reason::listed || reason == Reason::listed_cidr || is_failure(reason);
    case Verdict::report:
      return reason == Reason::reported || is_failure(reason);
    case Verdict::deny:
      break;
  }
  return reason == Reason::internal || (!is_allowed(reason) && !is_failure(reason));
}

}  // namespace

// What is counted over all agents. Series and registrations may outlive the registry.
struct AllAgents {
  std::function<std::chrono::steady_clock::time_point()> now;
  std::atomic<std::int64_t> present{0};
  std::array<Counter, tunnel_end_count> tunnel_ends{};
};

// The counters behind one value of the `agent` label; on cache lines of their own.
class alignas(64) AgentSeries {
 public:
  explicit AgentSeries(std::shared_ptr<AllAgents> all_agents) : all(std::move(all_agents)) {}

  void join() noexcept {
    all->present.fetch_add(1, std::memory_order_relaxed);
    present.fetch_add(1, std::memory_order_relaxed);
  }
  void leave() noexcept {
    all->present.fetch_sub(1, std::memory_order_relaxed);
    gone_since.store(all->now().time_since_epoch().count(), std::memory_order_relaxed);
    present.fetch_sub(1, std::memory_order_release);
  }
  bool gone_for(std::chrono::seconds grace) const {
    if (present.load(std::memory_order_acquire) > 0) return false;
    const std::chrono::steady_clock::duration since(gone_since.load(std::memory_order_relaxed));
    return all->now().time_since_epoch() - since >= grace;
  }

  const std::shared_ptr<AllAgents> all;
  std::atomic<int> present{0};
  std::atomic<std::chrono::steady_clock::rep> gone_since{0};
  std::array<std::array<Counter, reason_count>, verdict_count> decisions{};
  std::array<Counter, 2> bytes{};
  std::array<Counter, dns_outcome_count> dns{};
  std::atomic<std::int64_t> tunnels{0};
};

AgentMetrics::AgentMetrics(std::shared_ptr<AgentSeries> series) : series_(std::move(series)) {
  series_->join();
}

AgentMetrics::~AgentMetrics() { series_->leave(); }

void AgentMetrics::decided(Verdict verdict, Reason reason,
                           std::optional<Reason> would_deny) noexcept {
  add(series_->decisions[index(verdict)][index(reason)]);
  if (verdict == Verdict::deny || is_failure(reason)) {
    add(denied_[index(reason)]);
  } else if (would_deny) {
    add(reported_[index(*would_deny)]);
  } else {
    add(allowed_);
  }
}

void AgentMetrics::dns(DnsOutcome outcome) noexcept { add(series_->dns[index(outcome)]); }

void AgentMetrics::dns_refused(Reason reason) noexcept {
  dns(DnsOutcome::refused);
  add(dns_denied_[index(reason)]);
}

void AgentMetrics::moved(Direction direction, std::uint64_t bytes) noexcept {
  add(series_->bytes[index(direction)], bytes);
  add(bytes_[index(direction)], bytes);
}

void AgentMetrics::tunnel_opened() noexcept {
  series_->tunnels.fetch_add(1, std::memory_order_relaxed);
}

void AgentMetrics::tunnel_closed(TunnelEnd end) noexcept {
  series_->tunnels.fetch_sub(1, std::memory_order_relaxed);
  add(series_->all->tunnel_ends[index(end)]);
}

Totals AgentMetrics::totals() const noexcept {
  Totals totals;
  totals.allowed = get(allowed_);
  std::transform(denied_.begin(), denied_.end(), totals.denied.begin(), get);
  std::transform(dns_denied_.begin(), dns_denied_.end(), totals.dns_denied.begin(), get);
  std::transform(reported_.begin(), reported_.end(), totals.reported.begin(), get);
  totals.bytes_up = get(bytes_[index(Direction::up)]);
  totals.bytes_down = get(bytes_[index(Direction::down)]);
  return totals;
}

namespace {

// Collects families in the order in which they are shown.
class Page {
 public:
  struct Head {
    std::string_view name;
    std::string_view help;
  };

  void begin(MetricType type, const Head& head) {
    MetricFamily family;
    family.name = head.name;
    family.help = head.help;
    family.type = type;
    families_.push_back(std::move(family));
  }

  template <class Number>
  void value(Number number, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    MetricFamily& family = families_.back();
    double& place = family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value;
    place = static_cast<double>(number);
    family.metric.push_back(std::move(metric));
  }

  // A family of one label, one value for each name.
  void values(std::string_view label, std::span<const std::string_view> names,
              std::span<const Counter> counters) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      value(get(counters[i]), {{std::string(label), std::string(names[i])}});
    }
  }

  void counter(const Head& head, std::uint64_t number) {
    begin(MetricType::Counter, head);
    value(number);
  }
  template <class Number>
  void gauge(const Head& head, Number number) {
    begin(MetricType::Gauge, head);
    value(number);
  }

  std::string text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return out.str();
  }

 private:
  std::vector<MetricFamily> families_;
};

void add_decisions(Page& page, const std::string& agent, const AgentSeries& series) {
  for (const Verdict verdict : all_verdicts) {
    for (std::size_t i = 0; i < reason_count; ++i) {
      const Reason reason{static_cast<std::uint8_t>(i)};
      const std::uint64_t count = get(series.decisions[index(verdict)][i]);
      if (count == 0 && !can_occur(verdict, reason)) continue;
      page.value(count, {{"agent", agent},
                         {"verdict", std::string(verdict_name(verdict))},
                         {"reason", std::string(reason_name(reason))}});
    }
  }
}

template <class AllSeries>
void add_agents(Page& page, const AllSeries& all) {
  page.begin(MetricType::Counter,
             {"sluice_decisions_total",
              "Decisions about connections and requests. Failures carry the verdict that let them "
              "through."});
  for (const auto& [agent, series] : all) add_decisions(page, agent, *series);

  page.begin(MetricType::Gauge, {"sluice_tunnels", "Tunnels open now."});
  for (const auto& [agent, series] : all) page.value(series->tunnels.load(), {{"agent", agent}});

  page.begin(MetricType::Counter,
             {"sluice_bytes_total", "Payload bytes moved; up is from the agent to the origin."});
  for (const auto& [agent, series] : all) {
    for (std::size_t i = 0; i < direction_names.size(); ++i) {
      page.value(get(series->bytes[i]),
                 {{"agent", agent}, {"direction", std::string(direction_names[i])}});
    }
  }

  page.begin(MetricType::Counter,
             {"sluice_dns_queries_total", "DNS questions of agents; none travels upstream."});
  for (const auto& [agent, series] : all) {
    for (std::size_t i = 0; i < dns_outcome_names.size(); ++i) {
      page.value(get(series->dns[i]),
                 {{"agent", agent}, {"outcome", std::string(dns_outcome_names[i])}});
    }
  }
}

struct PolicyNumbers {
  std::uint64_t rules = 0;
  std::uint64_t failed = 0;
  std::uint64_t succeeded = 0;
  bool current = false;
  double loaded_at = 0;
};

void add_policy(Page& page, const PolicyNumbers& policy) {
  page.gauge({"sluice_policy_rules", "Rules of the policy in force."}, policy.rules);
  page.begin(MetricType::Counter,
             {"sluice_policy_reloads_total", "Attempts to take a changed policy, by result."});
  page.value(policy.succeeded, {{"result", "success"}});
  page.value(policy.failed, {{"result", "failure"}});
  page.gauge({"sluice_policy_last_reload_successful",
              "1 while the policy in force is what its files said when they were last read."},
             policy.current ? 1 : 0);
  page.gauge({"sluice_policy_last_reload_success_timestamp_seconds",
              "When the files were last read and found good, since the epoch in seconds."},
             policy.loaded_at);
}

void add_process(Page& page, const ProcessUse& use) {
  page.begin(MetricType::Counter,
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
      other_(std::make_shared<AgentSeries>(all_)) {
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
    found = series_.emplace(name, std::make_shared<AgentSeries>(all_)).first;
  }
  return std::make_shared<AgentMetrics>(found->second);
}

void Registry::connection(Via via) noexcept { add(connections_[index(via)]); }

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

Registry::Series Registry::shown() const {
  const std::lock_guard lock(mutex_);
  forget_gone();
  Series shown = series_;
  shown.emplace(other_name, other_);
  return shown;
}

std::string Registry::exposition() const {
  Page page;
  page.begin(MetricType::Gauge, {"sluice_build_info", "Always 1; the labels say what runs."});
  page.value(1, {{"version", options_.version}});
  page.gauge({"sluice_agents", "Agents registered or with a connection left."},
             all_->present.load());

  page.begin(MetricType::Counter,
             {"sluice_connections_total", "Connections accepted, by entrance."});
  for (const Via via : {Via::connect, Via::http, Via::socks5, Via::transparent, Via::dns}) {
    page.value(get(connections_[index(via)]), {{"via", std::string(via_name(via))}});
  }

  add_agents(page, shown());

  page.begin(MetricType::Counter, {"sluice_tunnel_ends_total", "Tunnels that ended, by why."});
  page.values("end", tunnel_end_names, all_->tunnel_ends);
  add_policy(page, {.rules = get(policy_rules_),
                    .failed = get(policy_reloads_[0]),
                    .succeeded = get(policy_reloads_[1]),
                    .current = policy_current_.load(std::memory_order_relaxed),
                    .loaded_at = policy_loaded_at_.load(std::memory_order_relaxed)});
  page.counter({"sluice_audit_lines_total", "Audit lines written."}, get(audit_->lines));
  page.counter({"sluice_audit_dropped_total",
                "Audit lines lost because the queue was full or the file refused them."},
               get(audit_->dropped));
  add_process(page, process_.use());
  return page.text();
}

}  // namespace sluice::metrics
