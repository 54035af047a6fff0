#include "proxy/daemon/server.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/basic_signal_set.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <random>

#include "proxy/daemon/admin.h"
#include "proxy/daemon/budget_keeper.h"
#include "proxy/daemon/hand_over.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/notify.h"
#include "proxy/daemon/policy_reload.h"
#include "proxy/daemon/spawn.h"
#include "proxy/daemon/watchdog.h"

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
  Result<void> inherit();
  Task<void> hand_over(std::shared_ptr<const Fd> link);
  Estate estate();
  Task<void> retire(Successor& successor);
  void leave_to_another();
  Result<void> serve_all();
  int open_connections() const;
  Result<void> watch_policy();
  Result<void> serve_listeners();
  void keep_budgets();
  void take(Reloaded reloaded);
  void serve_admins();
  void keep_watchdog();
  void stop();

  ServerOrder order_;
  metrics::Registry registry_{{.version = SLUICE_VERSION}};
  Shared shared_{.timeouts = order_.timeouts,
                 .limits = with_defaults(order_.limits),
                 .own_listeners = order_.own_listeners,
                 .loop_token = random_token(),
                 .registry = registry_,
                 .way_out = order_.way_out};
  metrics::Recent recent_;  // outlives the workers and the audit log
  // Outlives the workers: peers that are still connected go with worker 0 and say remove().
  std::optional<Agents> agents_;
  std::optional<Peers> peers_;
  std::optional<Predecessor> predecessor_;
  Workers workers_;
  std::unique_ptr<Scribe> scribe_;  // ends before the workers, on whose loops it answers
  std::unique_ptr<SignalSet> signals_;
  std::unique_ptr<Entrance> handover_;
  std::unique_ptr<Entrance> admin_socket_;
  std::unique_ptr<Entrance> admin_address_;
  // What sluiced is about: it begins to end at most once.
  enum class Stage : std::uint8_t { serving, handing_over, retired, draining };
  Stage stage_ = Stage::serving;
  bool end_asked_ = false;
  std::unique_ptr<Listeners> listeners_;  // null: none are configured
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
  co_await peers_->serve(std::move(order_.handover_peer));
  stop();
}

void Server::take(Reloaded reloaded) {
  if (stage_ == Stage::serving) notify("READY=1");
  last_reload_ = std::move(reloaded.outcome);
  registry_.policy_reloaded(metrics::Succeeded(last_reload_.ok), last_reload_.at);
  if (!reloaded.edition) return;
  order_.policy = std::move(*reloaded.edition);
  agents_->set_policy(order_.policy.policy);
  peers_->policy_changed();
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

Result<void> Server::serve_listeners() {
  if (order_.listeners.empty()) return {};
  auto listeners =
      Listeners::create(workers_, agents_->of_listeners(), std::move(order_.listeners));
  if (!listeners) return Failure(listeners.error());
  listeners_ = std::move(*listeners);
  return listeners_->serve();
}

// Without a place for it the limits still hold, until sluiced ends.
void Server::keep_budgets() {
  const BudgetKeeper::Load load(!order_.inheritance.has_value());
  auto keeper = BudgetKeeper::start(agents_->allowances(), order_.budget_file, 5s, load);
  if (keeper) {
    budgets_ = std::move(*keeper);
  } else {
    log::warning("{}", without_kind(keeper.error()));
  }
}

int Server::open_connections() const {
  return agents_->sessions() + (listeners_ ? listeners_->fronts() : 0);
}

// New connections are refused, tunnels get timeouts.drain to finish.
Task<void> Server::drain() {
  stage_ = Stage::draining;
  notify("STOPPING=1");
  agents_->close_listeners();
  if (listeners_) listeners_->close();
  Timer pause(workers_[0]->io);
  const Clock::time_point until = Clock::now() + shared_.timeouts.drain;
  while (open_connections() > 0 && Clock::now() < until) {
    pause.expires_after(50ms);
    co_await pause.async_wait();
  }
  stop();
}

Estate Server::estate() {
  Estate all{.io = workers_[0]->io,
             .agents = *agents_,
             .peers = *peers_,
             .handover = *handover_,
             .others = {{Estate::Kind::admin, admin_socket_->fd()}},
             .listeners = listeners_.get(),
             .budgets = budgets_.get()};
  if (admin_address_) all.others.emplace_back(Estate::Kind::admin_address, admin_address_->fd());
  return all;
}

// To whoever asked on `link`, which is of this user or root's.
Task<void> Server::hand_over(std::shared_ptr<const Fd> link) {
  const bool has_old_one = predecessor_ && predecessor_->lives();
  if (stage_ != Stage::serving || has_old_one) {
    // Three would not know what each other's connections use, nor end them with their agent.
    const netns::Transfer refused(netns::Refused{
        stage_ != Stage::serving
            ? "the running sluiced is ending already"
            : "the sluiced before the running one still has connections; try again when they have "
              "ended, after 'timeouts: drain' at most"});
    (void)netns::send_packet(link->get(), netns::encode(refused));
    co_return;
  }
  stage_ = Stage::handing_over;
  log::info("another sluiced takes over");
  Successor successor(link, *agents_);
  auto handed = co_await successor.hand_over(estate());
  if (!handed) {
    log::warning("nothing was taken over, serving on: {}", handed.error().what);
    stage_ = Stage::serving;
    if (end_asked_) co_await drain();
    co_return;
  }
  stage_ = Stage::retired;
  leave_to_another();
  co_await retire(successor);
}

// Every socket is the other's as well: closing ours changes nothing for whoever is connected.
void Server::leave_to_another() {
  peers_->leave_to_another();
  agents_->leave_to_another();
  if (listeners_) listeners_->close();
  for (Entrance* entrance : {handover_.get(), admin_socket_.get(), admin_address_.get()}) {
    if (entrance != nullptr) entrance->close();
  }
  log::info("another sluiced has taken over; {} connections are served to their end",
            open_connections());
}

Task<void> Server::retire(Successor& successor) {
  Timer pause(workers_[0]->io);
  const Clock::time_point until = Clock::now() + shared_.timeouts.drain;
  while (open_connections() > 0 && Clock::now() < until) {
    successor.exchange(Successor::Last::no);
    pause.expires_after(50ms);
    co_await pause.async_wait();
  }
  for (const auto& worker : workers_) {
    asio::post(worker->io, [&worker = *worker] { worker.break_off(nullptr); });
  }
  const Clock::time_point at_most = Clock::now() + 1s;
  while (open_connections() > 0 && Clock::now() < at_most) {
    pause.expires_after(5ms);
    co_await pause.async_wait();
  }
  const Clock::time_point to_say = Clock::now() + 1s;
  while (!successor.exchange(Successor::Last::yes) && Clock::now() < to_say) {
    pause.expires_after(5ms);
    co_await pause.async_wait();
  }
  stop();
}

Task<void> Server::heed_signals() {
  for (;;) {
    const auto [error, number] = co_await signals_->async_wait();
    if (error) co_return;
    if (number == SIGHUP) {
      if (stage_ == Stage::serving) notify_reloading();
      reload_->ask();
    } else if (std::exchange(end_asked_, true)) {
      stop();  // asked twice: at once
    } else if (stage_ == Stage::serving) {
      spawn(workers_[0]->io, drain());
    }  // One that another took over from ends by itself; and while one does, it is awaited.
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
  if (order_.admin_socket || order_.admin_address) {
    scribe_ = std::make_unique<Scribe>([this] { return registry_.exposition(); });
  }
  const AdminPages for_all{.registry = registry_, .scribe = scribe_.get()};
  AdminPages for_operators = for_all;
  for_operators.operators = {.policy = [this] { return to_json(order_.policy, last_reload_); },
                             .agents = [this] { return agents_->accounts(); },
                             .recent = &recent_};
  const auto serve = [&](std::unique_ptr<Entrance>& entrance, Fd& socket, const AdminPages& pages) {
    if (!socket) return;
    entrance = std::make_unique<Entrance>(control, std::move(socket));
    spawn(control, serve_admin(control, pages, *entrance));
  };
  serve(admin_socket_, order_.admin_socket, for_operators);
  serve(admin_address_, order_.admin_address, for_all);
}

// One that another has taken over from is watched no longer.
void Server::keep_watchdog() {
  const auto limit = watchdog_limit();
  if (limit.count() == 0) return;
  std::vector<asio::io_context*> threads;
  for (const auto& worker : workers_) threads.push_back(&worker->io);
  const auto serves = [this] { return stage_ != Stage::retired; };
  spawn(workers_[0]->io, feed_watchdog(std::move(threads), limit, serves));
}

// Nothing is served yet, so that whatever fails leaves all to the other one.
Result<void> Server::inherit() {
  Inheritance& inheritance = *order_.inheritance;
  for (const std::string& lines : inheritance.budgets) {
    auto restored = agents_->allowances().restore(lines, Allowance::Utc::now());
    if (!restored) return restored;
  }
  predecessor_.emplace(*agents_);
  if (auto adopted = predecessor_->adopt(std::move(inheritance.peers), *peers_); !adopted) {
    return adopted;
  }
  if (auto taken = take_possession(inheritance); !taken) return taken;
  agents_->allowances().tell_all();
  predecessor_->listen(std::move(inheritance.link));
  inheritance.listening.clear();  // what this configuration does not have
  peers_->on_farewell([this](const Registration& ended) { return predecessor_->counts(ended); });
  spawn(workers_[0]->io, predecessor_->attend(workers_[0]->io));
  return {};
}

// Of a shared one. What can fail comes first: nobody is served before run_threads().
Result<void> Server::serve_all() {
  asio::io_context& control = workers_[0]->io;
  if (auto watched = watch_policy(); !watched) return watched;
  if (auto made = serve_listeners(); !made) return made;
  handover_ = std::make_unique<Entrance>(control, std::move(order_.handover_listener));
  if (order_.inheritance) {
    if (auto inherited = inherit(); !inherited) return inherited;
  }
  keep_budgets();
  for (const auto& [name, registration] : agents_->live()) agents_->serve(*registration);
  peers_->on_take_over([this, &control](std::shared_ptr<const Fd> link) {
    spawn(control, hand_over(std::move(link)));
  });
  peers_->go_on();
  signals_ = std::make_unique<SignalSet>(control, SIGTERM, SIGINT, SIGHUP);
  spawn(control, heed_signals());
  spawn(control, peers_->accept(*handover_));
  serve_admins();
  keep_watchdog();
  notify(fmt::format("MAINPID={}\nREADY=1", ::getpid()));
  return {};
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
  metrics::AuditOptions options;
  options.recent = &recent_;
  audit_ = std::make_unique<metrics::AuditLog>(std::move(order_.audit), registry_.audit(), options);
  shared_.audit = audit_.get();
  agents_.emplace(workers_, shared_);
  agents_->set_policy(order_.policy.policy);
  peers_.emplace(workers_[0]->io, *agents_, Peers::Limits(), order_.peer_access);
  registry_.set_tunnels_limit(shared_.limits.connections_per_agent);
  registry_.policy_loaded(order_.policy.loaded_at);
  last_reload_.at = order_.policy.loaded_at;
  for (const auto& worker : workers_) spawn(worker->io, worker->wheel.run());
  if (embedded) {
    serve_admins();
    spawn(workers_[0]->io, serve_supervisor());
  } else if (auto served = serve_all(); !served) {
    return Failure(served.error());
  }
  run_threads();
  reload_.reset();
  budgets_.reset();
  peers_->end();
  agents_->end();
  return 0;
}

}  // namespace

Result<int> run_server(ServerOrder order) { return Server(std::move(order)).run(); }

}  // namespace sluice::proxy
