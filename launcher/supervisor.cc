#include "launcher/supervisor.h"

#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/io.h"
#include "base/signals.h"
#include "base/text.h"
#include "launcher/control.h"
#include "launcher/denials.h"
#include "launcher/exec_log/exec_log.h"
#include "launcher/last_word.h"
#include "launcher/probes/self_check.h"
#include "launcher/roots/as_owner.h"
#include "launcher/roots/changes.h"
#include "launcher/roots/layer_watch.h"
#include "launcher/sandbox/bind_source.h"
#include "launcher/sandbox/enter.h"
#include "launcher/seeds.h"
#include "launcher/sessions/door.h"
#include "launcher/terminal_relay.h"
#include "netns/datagram_count.h"
#include "netns/summary.h"

namespace sluice::launcher {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds building_time{30};
constexpr std::chrono::minutes copying_time{5};  // besides, where there are seeds
constexpr std::chrono::seconds registering_time{5};
constexpr std::chrono::seconds ending_time{2};
constexpr std::chrono::seconds grace{5};  // between SIGTERM and SIGKILL

constexpr int failed_status = 125;
constexpr int timeout_status = 124;

class Supervisor {
 public:
  explicit Supervisor(SupervisorOrder order)
      : order_(std::move(order)), proxy_(std::move(order_.proxy), order_.plan.agent) {}
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor();

  Result<void> start();
  int run();

 private:
  enum class Phase : std::uint8_t { building, registering, running, ending, done };

  void enter(Phase phase, std::optional<Clock::duration> time);
  std::vector<pollfd> waits() const;
  int poll_timeout() const;
  void tell_sluiced();
  bool may_be_the_root_why() const;
  void tell_end() const;
  Result<void> learn_what_changed();
  void keep_what_changed();
  void handle(const std::vector<pollfd>& ready);
  void on_time();
  void on_signal(int number);
  void reap();
  void on_control();
  void on_message(ControlMessage& message);
  void on_ready(ControlMessage& message);
  void on_ended(int status);
  void on_proxy(std::vector<ProxyKeeper::Event> events);
  void on_registered(const netns::Registered& registered);
  void on_started();
  void on_door();
  void on_stop(Stop how);
  void count_datagrams();
  void on_exec_log(ControlMessage& message);
  void on_execs();
  Result<void> watch_layer();
  void on_layer();
  ExecLog::Report exec_reporter();
  void fail_run(int status, const Error& error);
  void kill_sandbox();
  void signal_agent(int number);
  void say(std::string_view line) const;
  void say_raw(std::string line) const;

  SupervisorOrder order_;
  ProxyKeeper proxy_;
  Fd signals_;
  std::optional<Door> door_;
  Sandbox sandbox_;
  Fd changes_;                       // of the overlay
  std::optional<LayerWatch> layer_;  // where that lies on disk
  pid_t init_ = -1;
  std::vector<pid_t> strangers_;  // reaped without being init_; a handful, one for each restart
  std::unique_ptr<TerminalRelay> terminal_;
  std::unique_ptr<Denials> denials_;
  Phase phase_ = Phase::building;
  std::optional<Clock::time_point> deadline_;   // of the phase
  std::optional<Clock::time_point> run_until_;  // --timeout
  std::optional<Clock::time_point> kill_at_;    // after a SIGTERM
  bool timed_out_ = false;
  bool was_running_ = false;
  bool was_registered_ = false;
  bool stop_asked_ = false;
  std::string leak_;  // what the self-check reached
  int status_ = failed_status;
  std::optional<netns::Totals> totals_;
  bool is_captured_ = true;
  netns::DatagramCount datagrams_;
  ExecLog exec_log_;
};

Supervisor::~Supervisor() { kill_sandbox(); }

void Supervisor::say_raw(std::string line) const {
  line += terminal_ && terminal_->is_raw() ? "\r\n" : "\n";
  (void)write_all(STDERR_FILENO, "stderr", line);
}

void Supervisor::say(std::string_view line) const { say_raw(fmt::format("sluice: {}", line)); }

void Supervisor::enter(Phase phase, std::optional<Clock::duration> time) {
  phase_ = phase;
  deadline_.reset();
  if (time) deadline_ = Clock::now() + *time;
}

Result<void> Supervisor::start() {
  auto signals = watch_signals();
  if (!signals) return Failure(signals.error());
  signals_ = std::move(*signals);
  auto door = Door::open(order_.door);
  if (!door) return Failure(door.error());
  door_.emplace(std::move(*door));
  SandboxStart start{order_.plan, order_.filters, order_.host_id, {}, {}};
  if (order_.group) start.groups = order_.group->entrances();
  for (const Mount& mount : order_.plan.mounts) {
    if (!order_.host_id || !has_source(mount)) continue;
    auto bind = open_bind_as_root(mount, *order_.host_id);
    if (!bind) return Failure(bind.error());
    start.binds.push_back(std::move(*bind));
  }
  if (order_.host_id && !order_.plan.root.is_hosts_as_it_is()) {
    auto root = open_root_as_root(order_.plan.root, *order_.host_id);
    if (!root) return Failure(root.error());
    start.root = std::move(*root);
  }
  if (auto opened = proxy_.open(); !opened) return opened;
  auto sandbox = start_sandbox(std::move(start));
  if (!sandbox) return Failure(sandbox.error());
  sandbox_ = std::move(*sandbox);
  const bool copies = has_seed(order_.plan.mounts);
  enter(Phase::building, copies ? building_time + copying_time : building_time);
  return {};
}

int Supervisor::run() {
  while (phase_ != Phase::done) {
    std::vector<pollfd> ready = waits();
    if (::poll(ready.data(), ready.size(), poll_timeout()) < 0 && errno != EINTR) break;
    handle(ready);
    on_time();
  }
  terminal_.reset();
  tell_sluiced();
  keep_what_changed();
  tell_end();
  return status_;
}

// Who has ids of his own sees files of theirs only as their owner.
Result<void> Supervisor::learn_what_changed() {
  if (!order_.plan.root.sub_ids) return order_.learn(changes_.get(), status_);
  return as_owner(*order_.plan.root.sub_ids,
                  [&] {
                    return order_.learn(changes_.get(), status_).map([] { return std::string(); });
                  })
      .map([](const std::string&) {});
}

// The last that is said, so that a sluiced which does not know it may hang up.
void Supervisor::tell_sluiced() {
  if (!was_registered_) return;
  const RunEnd end{.status = status_,
                   .was_running = was_running_,
                   .timed_out = timed_out_,
                   .stop_asked = stop_asked_,
                   .out_of_memory = order_.group && order_.group->ended_by_memory(status_)};
  if (order_.plan.proves && was_running_ && status_ != 0) leak_ = "'sluice prove' did not hold";
  if (was_running_ || !leak_.empty()) proxy_.part_with(probe_event(std::move(leak_)));
  proxy_.part_with(end_event(end));
}

// After the end of everything that could write there.
void Supervisor::keep_what_changed() {
  kill_sandbox();
  if (!changes_ || !was_running_) return;
  if (order_.learn) {
    if (auto learnt = learn_what_changed(); !learnt) {
      say_raw(fmt::format("sluice: {}", to_string(learnt.error())));
      status_ = failed_status;
    }
  }
  if (order_.keep_changes < 0) return;
  const auto kept = keep_changes(changes_.get(), order_.keep_changes, order_.plan.root.sub_ids);
  if (!kept) {
    say_raw(fmt::format("sluice: {}", to_string(kept.error())));
    status_ = failed_status;
  } else if (!order_.quiet) {
    say(fmt::format("kept the changes: {} files of {} bytes, {} deletions", kept->files,
                    kept->bytes, kept->deletions));
  }
}

// Whether a command failed for what may have been its root. What the kernel refused is nobody's to
// count: an agent's calls for files are not watched. Where the policy blocked something that is the
// likelier reason, and a person at a terminal has read what failed.
bool Supervisor::may_be_the_root_why() const {
  const bool has_failed = status_ >= 1 && status_ < timeout_status && !timed_out_;
  const bool is_blocked = totals_ && !totals_->denied.empty();
  return has_failed && !is_blocked && !terminal_ && !order_.plan.root.is_overlay() &&
         !order_.plan.proves;
}

void Supervisor::tell_end() const {
  if (denials_ && denials_->left_out() > 0 && !order_.plan.proves) {
    say(fmt::format("{} more denials were not shown", denials_->left_out()));
  }
  const std::string limit = order_.group ? order_.group->tell(status_) : std::string();
  if (order_.quiet) return;
  if (!was_running_) {
    if (!limit.empty()) say("the agent did not start" + limit);
    return;
  }
  if (may_be_the_root_why()) {
    say("where a read-only root is why it failed, --learn-writes names what it would write");
  }
  std::string line =
      netns::end_line(order_.plan.agent, {totals_, datagrams_.total(), proxy_.replacements()});
  if (timed_out_) line += ", ended by its --timeout";
  say(line + limit);
}

std::vector<pollfd> Supervisor::waits() const {
  std::vector<pollfd> waits{{signals_.get(), POLLIN, 0},
                            {sandbox_.control.get(), POLLIN, 0},
                            {proxy_.handover_fd(), POLLIN, 0},
                            {proxy_.log_fd(), POLLIN, 0},
                            {door_->fd(), POLLIN, 0},
                            {exec_log_.fd(), POLLIN, 0},
                            {layer_ ? layer_->fd() : -1, POLLIN, 0}};
  if (!terminal_) return waits;
  for (const pollfd& wait : terminal_->waits()) waits.push_back(wait);
  return waits;
}

int Supervisor::poll_timeout() const {
  std::optional<Clock::time_point> first;
  for (const auto& time :
       {deadline_, run_until_, kill_at_, datagrams_.next(), exec_log_.next(), proxy_.next_tick()}) {
    if (time && (!first || *time < *first)) first = time;
  }
  if (!first) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*first - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void Supervisor::handle(const std::vector<pollfd>& ready) {
  // The agent's last words before the message that it has ended.
  if (terminal_) terminal_->handle({ready.begin() + 7, ready.end()});
  if (ready[0].revents != 0) {
    for (const int number : read_signals(signals_.get())) on_signal(number);
  }
  if (ready[3].revents != 0) on_proxy(proxy_.on_log());
  if (ready[2].revents != 0) on_proxy(proxy_.on_handover(Clock::now()));
  // Before what its death may have ended.
  if (ready[5].revents != 0) on_execs();
  if (ready[1].revents != 0) on_control();
  if (ready[4].revents != 0) on_door();
  if (layer_ && ready[6].revents != 0) on_layer();
}

void Supervisor::on_time() {
  const auto now = Clock::now();
  on_proxy(proxy_.tick(now));
  if (datagrams_.next() && now >= *datagrams_.next()) count_datagrams();
  exec_log_.tick(exec_reporter(), now);
  if (run_until_ && now >= *run_until_) {
    run_until_.reset();
    timed_out_ = true;
    signal_agent(SIGTERM);
    kill_at_ = now + grace;
  }
  if (kill_at_ && now >= *kill_at_) {
    kill_at_.reset();
    kill_sandbox();
    on_ended(128 + SIGKILL);
  }
  if (!deadline_ || now < *deadline_) return;
  deadline_.reset();
  if (phase_ == Phase::ending) {
    enter(Phase::done, std::nullopt);
  } else if (phase_ == Phase::registering) {
    fail_run(failed_status, {Errc::unavailable, "sluiced does not answer", "look at its log", {}});
  } else {
    fail_run(
        failed_status,
        {Errc::unavailable, "the sandbox was not ready in time", "is the machine overloaded?", {}});
  }
}

void Supervisor::on_signal(int number) {
  if (number == SIGCHLD) return reap();
  if (number == SIGWINCH) {
    if (terminal_) terminal_->resize();
    return;
  }
  if (phase_ == Phase::running) {
    signal_agent(number);
    // An agent that will not hear SIGTERM ends all the same; Ctrl-C is its own business.
    const bool must_end = number == SIGTERM || number == SIGHUP;
    stop_asked_ |= must_end;
    if (must_end && !kill_at_) kill_at_ = Clock::now() + grace;
  } else if (phase_ != Phase::ending) {
    status_ = 128 + number;
    enter(Phase::done, std::nullopt);
  }
}

void Supervisor::reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    proxy_.on_child(pid);
    exec_log_.on_child(pid);
    if (layer_) layer_->on_child(pid);
    // Ended before it was announced: its number may soon be another process's.
    if (pid != init_) strangers_.push_back(pid);
    if (pid == init_) init_ = -1;
  }
}

void Supervisor::signal_agent(int number) {
  ControlMessage message;
  message.kind = ControlMessage::Kind::signal;
  message.number = number;
  if (sandbox_.control) (void)send_control(sandbox_.control.get(), message);
}

// Pid 1's death kills all that is in its pid namespace.
void Supervisor::kill_sandbox() {
  sandbox_.control.reset();
  if (init_ <= 0) return;
  ::kill(init_, SIGKILL);
  ::waitpid(init_, nullptr, 0);
  init_ = -1;
}

void Supervisor::fail_run(int status, const Error& error) {
  if (phase_ == Phase::ending || phase_ == Phase::done) return enter(Phase::done, std::nullopt);
  say_raw(fmt::format("sluice: {}", to_string(error)));
  status_ = status;
  kill_sandbox();
  enter(Phase::done, std::nullopt);
}

void Supervisor::on_control() {
  auto message = receive_control(sandbox_.control.get());
  if (message && *message) return on_message(**message);
  if (message) return;
  const bool is_running = phase_ == Phase::running && was_running_;
  kill_sandbox();
  if (is_running) {
    say("the sandbox was killed");
    on_ended(128 + SIGKILL);
  } else if (phase_ != Phase::ending) {
    fail_run(failed_status,
             {Errc::unavailable, "the sandbox ended while it was being made", "", {}});
  }
}

void Supervisor::on_message(ControlMessage& message) {
  using Kind = ControlMessage::Kind;
  switch (message.kind) {
    case Kind::born:
      if (!std::count(strangers_.begin(), strangers_.end(), message.number)) init_ = message.number;
      return;
    case Kind::ready:
      return on_ready(message);
    case Kind::notice:
      if (!order_.quiet) say(message.sentence);
      return;
    case Kind::exec_log:
      return on_exec_log(message);
    case Kind::failed:
      if (const auto at = message.sentence.find(probes::leak_found); at != std::string::npos) {
        leak_ = message.sentence.substr(at);
      }
      return fail_run(
          message.number,
          {Errc::not_permitted, std::move(message.sentence), std::move(message.hint), {}});
    case Kind::started:
      return on_started();
    case Kind::ended:
      return on_ended(message.number);
    case Kind::go:
    case Kind::signal:
      break;
  }
  fail_run(failed_status, {Errc::bug, "the sandbox spoke out of turn", "", {}});
}

void Supervisor::on_ready(ControlMessage& message) {
  netns::Listeners listeners;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    listeners[i] = detach(message, netns::role_name(static_cast<netns::Role>(i)));
  }
  is_captured_ = bool(listeners[static_cast<std::size_t>(netns::Role::tproxy4)]);
  if (Fd counter = detach(message, "refused_udp")) {
    auto started = datagrams_.start(std::move(counter), Clock::now());
    if (!started) return fail_run(failed_status, started.error());
  }
  Fd denials = detach(message, "denials");
  if (!denials) return fail_run(failed_status, {Errc::bug, "the sandbox has no denials", "", {}});
  denials_ = std::make_unique<Denials>(std::move(denials));
  changes_ = detach(message, "changes");
  if (auto watched = watch_layer(); !watched) return fail_run(failed_status, watched.error());
  if (Fd terminal = detach(message, "terminal")) {
    terminal_ = std::make_unique<TerminalRelay>(std::move(terminal));
  }
  enter(Phase::registering, registering_time);
  if (auto handed = proxy_.hand_over(std::move(listeners)); !handed) {
    fail_run(failed_status, handed.error());
  }
}

void Supervisor::on_registered(const netns::Registered& registered) {
  if (phase_ != Phase::registering) return;
  was_registered_ = true;
  if (registered.sandbox != order_.sandbox) {
    return fail_run(failed_status, {Errc::not_permitted,
                                    "the policy's 'sandbox:' changed while the run was being made",
                                    "run it again",
                                    {}});
  }
  if (!is_captured_) say(netns::without_rules(proxy_.ports()));
  ControlMessage go;
  go.kind = ControlMessage::Kind::go;
  enter(Phase::running, std::nullopt);
  if (auto sent = send_control(sandbox_.control.get(), go); !sent) {
    on_control();  // a sandbox that has ended may have said why
    if (phase_ == Phase::running) fail_run(failed_status, sent.error());
  }
}

void Supervisor::on_started() {
  was_running_ = true;
  if (order_.timeout) run_until_ = Clock::now() + *order_.timeout;
  if (order_.started >= 0 && ::write(order_.started, "s", 1) != 1) on_stop(Stop::now);
}

void Supervisor::on_door() {
  using State = RunStatus::State;
  order_.status.state = phase_ == Phase::ending || phase_ == Phase::done ? State::ending
                        : was_running_                                   ? State::running
                                                                         : State::starting;
  if (const auto stop = door_->serve(order_.status)) on_stop(*stop);
}

void Supervisor::on_stop(Stop how) {
  if (how == Stop::gently) return on_signal(SIGTERM);
  stop_asked_ = true;
  kill_sandbox();
  if (phase_ == Phase::running) return on_ended(128 + SIGKILL);
  if (phase_ != Phase::ending) on_signal(SIGKILL);
}

ExecLog::Report Supervisor::exec_reporter() {
  return [this](const std::string& event) { return proxy_.report_encoded(event); };
}

// It is a log and no wall: a kernel that refuses it is no reason to refuse the run.
void Supervisor::on_exec_log(ControlMessage& message) {
  Fd listener = detach(message, "listener");
  if (!listener) {
    const Error why = errno_error(Errc::not_permitted, "seccomp", message.number);
    if (!order_.quiet) say(fmt::format("commands are not logged: {}", why.what));
  } else if (auto started = exec_log_.start(std::move(listener), detach(message, "set_id"));
             !started) {
    fail_run(failed_status, started.error());
  }
}

// Without the watcher the agent could start nothing more, and nobody would know why.
void Supervisor::on_execs() {
  if (auto received = exec_log_.receive(exec_reporter(), Clock::now()); !received) {
    fail_run(failed_status, received.error());
  }
}

// Before the agent can write there.
Result<void> Supervisor::watch_layer() {
  const Root& root = order_.plan.root;
  if (!root.is_on_disk()) return {};
  if (!changes_) return fail(Errc::bug, "the sandbox has no layer to be watched");
  auto watch = LayerWatch::start(changes_.get(), root.bytes, root.sub_ids);
  if (!watch) return Failure(watch.error());
  layer_.emplace(std::move(*watch));
  return {};
}

// At once: while it is asked to end it would write on.
void Supervisor::on_layer() {
  const std::string why = layer_->why();
  layer_.reset();
  if (phase_ == Phase::ending || phase_ == Phase::done) return;
  kill_sandbox();
  if (phase_ != Phase::running) return fail_run(failed_status, {Errc::unavailable, why, "", {}});
  say(why);
  on_ended(128 + SIGKILL);
}

void Supervisor::count_datagrams() {
  const auto report = [this](const netns::Event& event) { return proxy_.report(event); };
  if (auto told = datagrams_.tell(report, Clock::now()); !told) say(told.error().what);
}

void Supervisor::on_ended(int status) {
  if (phase_ != Phase::running) return;
  status_ = timed_out_ ? timeout_status : status;
  run_until_.reset();
  kill_at_.reset();
  layer_.reset();
  if (terminal_) terminal_->drain();
  kill_sandbox();
  if (!exec_log_.finish(exec_reporter())) say("some commands are missing in the log");
  count_datagrams();
  const bool counts = proxy_.is_registered() && proxy_.unregister();
  enter(counts ? Phase::ending : Phase::done, ending_time);
}

void Supervisor::on_proxy(std::vector<ProxyKeeper::Event> events) {
  for (ProxyKeeper::Event& event : events) {
    if (const auto* registered = std::get_if<netns::Registered>(&event)) on_registered(*registered);
    if (const auto* said = std::get_if<ProxyKeeper::LogLine>(&event)) say_raw(said->text);
    if (const auto* notice = std::get_if<ProxyKeeper::Notice>(&event)) say(notice->text);
    if (const auto* denied = std::get_if<netns::Denied>(&event); denied != nullptr && denials_) {
      const auto line = denials_->add(denied->sentence, Clock::now());
      if (line && !order_.plan.proves) say(*line);
    }
    if (auto* totals = std::get_if<netns::Totals>(&event); totals != nullptr) {
      totals_ = std::move(*totals);
      enter(Phase::done, std::nullopt);
    }
    if (const auto* refused = std::get_if<netns::Refused>(&event)) {
      fail_run(failed_status, {Errc::not_permitted,
                               fmt::format("sluiced refuses the agent: {}", refused->error),
                               "",
                               {}});
    }
    if (const auto* impossible = std::get_if<ProxyKeeper::Impossible>(&event)) {
      fail_run(failed_status, impossible->error);
    }
    if (const auto* gone = std::get_if<ProxyKeeper::Gone>(&event); gone != nullptr) {
      fail_run(failed_status, {Errc::unavailable,
                               fmt::format("sluiced does not serve the agent: {}", gone->why),
                               "what it said is above",
                               {}});
    }
  }
}

}  // namespace

int supervise(SupervisorOrder order) {
  Supervisor supervisor(std::move(order));
  if (auto started = supervisor.start(); !started) {
    const std::string text = fmt::format("sluice: {}\n", to_string(started.error()));
    (void)write_all(STDERR_FILENO, "stderr", text);
    return failed_status;
  }
  return supervisor.run();
}

}  // namespace sluice::launcher
