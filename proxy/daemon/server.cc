#include "proxy/daemon/server.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <boost/asio/basic_signal_set.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <random>

#include "proxy/daemon/admin.h"
#include "proxy/daemon/budget_keeper.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/policy_reload.h"
#include "proxy/daemon/spawn.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using SignalSet = Token::as_default_on_t<asio::basic_signal_set<Executor>>;

std::string random_token() {
  std::random_device random;
  return fmt::format("{:08x}", random());
}

// One agent alone must not take all descriptors: a connection needs two.
Config::Limits with_defaults(Config::Limits limits) {
  constexpr rlim_t most = 4096;
  rlimit descriptors{};
  if (limits.connections_per_agent == 0 && ::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    const rlim_t share = std::min(descriptors.rlim_cur / 8, most);
    limits.connections_per_agent = static_cast<unsigned>(std::max<rlim_t>(share, 1));
  }
  return limits;
}

class Server {
 public:
  explicit Server(ServerOrder order) : order_(std::move(order)) {}
  Result<int> run();

 private:
  Result<void> make_workers();
  void run_threads();
  Task<void> serve_supervisor();
  Task<void> heed_signals();
  Task<void> drain();
  Result<void> watch_policy();
  void keep_budgets();
  void take(Reloaded reloaded);
  void serve_admins();
  void stop();

  ServerOrder order_;
  metrics::Registry registry_{{.version = SLUICE_VERSION}};
  Shared shared_{.timeouts = order_.timeouts,
                 .limits = with_defaults(order_.limits),
                 .own_listeners = order_.own_listeners,
                 .loop_token = random_token(),
                 .registry = registry_};
  // Outlives the workers: peers that are still connected go with worker 0 and say remove().
  std::optional<Agents> agents_;
  Workers workers_;
  std::unique_ptr<metrics::AuditLog> audit_;
  LastReload last_reload_;
  std::unique_ptr<PolicyReload> reload_;
  std::unique_ptr<BudgetKeeper> budgets_;
};

Result<void> Server::make_workers() {
  for (unsigned i = 0; i < order_.threads; ++i) {
    auto worker = Worker::create(shared_, order_.resolver);
    if (!worker) return Failure(worker.error());
    (*worker)->index = i;
    workers_.push_back(std::move(*worker));
  }
  return {};
}

Task<void> Server::serve_supervisor() {
  co_await serve_peer(workers_[0]->io, *agents_, std::move(order_.handover_peer));
  stop();
}

void Server::take(Reloaded reloaded) {
  last_reload_ = std::move(reloaded.outcome);
  registry_.policy_reloaded(metrics::Succeeded(last_reload_.ok), last_reload_.at);
  if (!reloaded.edition) return;
  order_.policy = std::move(*reloaded.edition);
  agents_->set_policy(order_.policy.policy);
  log::info("the policy was reloaded: {} rules for {} agents: entries",
            order_.policy.policy->rule_count(), order_.policy.agents.size());
}

Result<void> Server::watch_policy() {
  asio::io_context& control = workers_[0]->io;
  const auto tell = [&](Reloaded reloaded) {
    asio::post(control,
               [this, reloaded = std::move(reloaded)]() mutable { take(std::move(reloaded)); });
  };
  auto reload = PolicyReload::start(order_.policy, tell, {});
  if (!reload) return Failure(reload.error());
  reload_ = std::move(*reload);
  return {};
}

// Without a place for it the limits still hold, until sluiced ends.
void Server::keep_budgets() {
  auto keeper = BudgetKeeper::start(agents_->allowances(), order_.budget_file, 5s);
  if (keeper) {
    budgets_ = std::move(*keeper);
  } else {
    log::warning("{}", to_string(keeper.error()));
  }
}

// New connections are refused, tunnels get timeouts.drain to finish.
Task<void> Server::drain() {
  agents_->close_listeners();
  Timer pause(workers_[0]->io);
  const Clock::time_point until = Clock::now() + shared_.timeouts.drain;
  while (agents_->sessions() > 0 && Clock::now() < until) {
    pause.expires_after(50ms);
    co_await pause.async_wait();
  }
  stop();
}

Task<void> Server::heed_signals() {
  SignalSet signals(workers_[0]->io, SIGTERM, SIGINT, SIGHUP);
  for (bool draining = false;;) {
    const auto [error, number] = co_await signals.async_wait();
    if (error) co_return;
    if (number == SIGHUP) {
      reload_->ask();
    } else if (draining) {
      stop();  // asked twice: at once
    } else {
      draining = true;
      spawn(workers_[0]->io, drain());
    }
  }
}

void Server::stop() {
  for (const auto& worker : workers_) {
    asio::post(worker->io, [&worker = *worker] {
      worker.break_off(nullptr);
      // Behind what the broken-off sessions still have to say in their account.
      asio::post(worker.io, [&worker] { worker.io.stop(); });
    });
  }
}

void Server::run_threads() {
  std::vector<std::jthread> threads;
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    threads.emplace_back([&worker = *workers_[i]] {
      const auto work = asio::make_work_guard(worker.io);
      worker.io.run();
    });
  }
  const auto work = asio::make_work_guard(workers_[0]->io);
  workers_[0]->io.run();
}

void Server::serve_admins() {
  asio::io_context& control = workers_[0]->io;
  const AdminPages for_all{.registry = registry_, .policy = nullptr};
  AdminPages for_operators = for_all;
  for_operators.policy = [this] { return to_json(order_.policy, last_reload_); };
  if (order_.admin_socket) {
    spawn(control, serve_admin(control, for_operators, std::move(order_.admin_socket)));
  }
  if (order_.admin_address) {
    spawn(control, serve_admin(control, for_all, std::move(order_.admin_address)));
  }
}

Result<int> Server::run() {
  const bool embedded = order_.enclosure.has_value();
  if (auto made = make_workers(); !made) return Failure(made.error());
  if (embedded) {
    // The terminal's signals are for the agent; this process ends with its supervisor.
    for (const int number : {SIGINT, SIGHUP, SIGQUIT, SIGTSTP}) ::signal(number, SIG_IGN);
    if (auto closed = enclose(*order_.enclosure); !closed) return Failure(closed.error());
    // After enclose(): a change of credentials clears it. The handover connection ends us as well;
    // this is for a supervisor that dies while something holds its end.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  }
  ::signal(SIGPIPE, SIG_IGN);
  if (order_.audit) {
    audit_ = std::make_unique<metrics::AuditLog>(std::move(order_.audit), registry_.audit());
    shared_.audit = audit_.get();
  }
  agents_.emplace(workers_, shared_);
  agents_->set_policy(order_.policy.policy);
  registry_.policy_loaded(order_.policy.loaded_at);
  last_reload_.at = order_.policy.loaded_at;
  asio::io_context& control = workers_[0]->io;
  for (const auto& worker : workers_) spawn(worker->io, worker->wheel.run());
  serve_admins();
  if (embedded) {
    spawn(control, serve_supervisor());
  } else {
    keep_budgets();
    if (auto watched = watch_policy(); !watched) return Failure(watched.error());
    spawn(control, heed_signals());
    spawn(control, accept_peers(control, *agents_, std::move(order_.handover_listener)));
  }
  run_threads();
  reload_.reset();
  budgets_.reset();
  agents_->end();
  return 0;
}

}  // namespace

Result<int> run_server(ServerOrder order) { return Server(std::move(order)).run(); }

}  // namespace sluice::proxy
