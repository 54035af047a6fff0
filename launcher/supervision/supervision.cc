#include "launcher/supervision/supervision.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/signals.h"
#include "launcher/plan/seeds.h"

namespace sluice::launcher {
namespace {

constexpr std::chrono::seconds building_time{30};
constexpr std::chrono::minutes copying_time{5};  // besides, where there are seeds

}  // namespace

Supervision::Supervision(SupervisorOrder order)
    : order_(std::move(order)),
      proxy_(std::move(order_.proxy), order_.plan.agent),
      lines_([this](std::string_view ours) { write_own(ours); }) {}

void Supervision::write_own(std::string_view ours) {
  if (!is_read_ || (terminal_ && terminal_->say(ours))) return;
  (void)write_all(STDERR_FILENO, "stderr", ours);
}

void Supervision::say_raw(std::string line) {
  line += terminal_ && terminal_->is_raw() ? "\r\n" : "\n";
  if (!stderr_.say(line)) lines_.say(line, Clock::now());
}

void Supervision::say(std::string_view line) { say_raw(fmt::format("sluice: {}", line)); }

void Supervision::enter(Phase phase, std::optional<Clock::duration> time) {
  phase_ = phase;
  clock_.enter(time, Clock::now());
}

Result<void> Supervision::open_stderr(SandboxStart& start) {
  auto opened = stderr_.open(order_.host_id);
  if (!opened) return Failure(opened.error());
  start.standard_error = std::move(*opened);
  return {};
}

Result<void> Supervision::start() {
  auto signals = watch_signals();
  if (!signals) return Failure(signals.error());
  signals_ = std::move(*signals);
  auto door = Door::open(order_.door);
  if (!door) return Failure(door.error());
  door_.emplace(std::move(*door));
  SandboxStart start{order_.plan, order_.filters, order_.host_id, {}, {}};
  if (order_.group) start.groups = order_.group->entrances();
  if (auto opened = open_stderr(start); !opened) return opened;
  if (auto opened = SandboxKeeper::open_sources(start); !opened) return opened;
  if (auto opened = proxy_.open(); !opened) return opened;
  if (auto started = sandbox_.start(std::move(start)); !started) return started;
  const bool copies = has_seed(order_.plan.mounts);
  enter(Phase::building, copies ? building_time + copying_time : building_time);
  return {};
}

int Supervision::run() {
  while (phase_ != Phase::done) {
    std::vector<pollfd> ready = waits();
    const auto looked = Clock::now();
    if (::poll(ready.data(), ready.size(), poll_timeout()) < 0 && errno != EINTR) break;
    handle(ready);
    on_time();
    lines_.tick(looked);  // the agent's that came before what is due has passed
  }
  tell_sluiced();
  is_read_ = leave_terminal();
  is_read_ = hear_out() && is_read_;
  keep_what_changed();
  say_end();
  return status_;
}

std::vector<pollfd> Supervision::waits() const {
  std::vector<pollfd> waits{{signals_.get(), POLLIN, 0},
                            {sandbox_.fd(), POLLIN, 0},
                            {proxy_.handover_fd(), POLLIN, 0},
                            {proxy_.log_fd(), POLLIN, 0},
                            {door_->fd(), POLLIN, 0},
                            {exec_log_.fd(), POLLIN, 0},
                            {layer_ ? layer_->fd() : -1, POLLIN, 0}};
  if (!terminal_) return waits;
  for (const pollfd& wait : terminal_->waits()) waits.push_back(wait);
  return waits;
}

int Supervision::poll_timeout() const {
  auto first = clock_.next();
  for (const auto& time : {datagrams_.next(), exec_log_.next(), proxy_.next_tick(), lines_.due()}) {
    first = earlier(first, time);
  }
  if (!first) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*first - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void Supervision::handle(const std::vector<pollfd>& ready) {
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

void Supervision::on_time() {
  const auto now = Clock::now();
  on_proxy(proxy_.tick(now));
  if (datagrams_.next() && now >= *datagrams_.next()) count_datagrams();
  exec_log_.tick(exec_reporter(), now);
  for (;;) {
    switch (clock_.take(now)) {
      case RunClock::Due::nothing:
        return;
      case RunClock::Due::timeout:
        timed_out_ = true;
        sandbox_.signal(SIGTERM);
        break;
      case RunClock::Due::kill:
        sandbox_.kill();
        on_ended(128 + SIGKILL);
        break;
      case RunClock::Due::phase:
        on_late_phase();
        break;
    }
  }
}

void Supervision::on_late_phase() {
  if (phase_ == Phase::ending) return enter(Phase::done, std::nullopt);
  if (phase_ == Phase::registering) {
    return fail_run(sluice_failed,
                    {Errc::unavailable, "sluiced does not answer", "look at its log", {}});
  }
  fail_run(
      sluice_failed,
      {Errc::unavailable, "the sandbox was not ready in time", "is the machine overloaded?", {}});
}

void Supervision::on_signal(int number) {
  if (number == SIGCHLD) return reap();
  if (number == SIGWINCH) {
    if (terminal_) terminal_->resize();
    return;
  }
  if (phase_ == Phase::running) {
    sandbox_.signal(number);
    // An agent that will not hear SIGTERM ends all the same; Ctrl-C is its own business.
    const bool must_end = number == SIGTERM || number == SIGHUP;
    stop_asked_ |= must_end;
    if (must_end) clock_.begin_grace(Clock::now());
  } else if (phase_ != Phase::ending) {
    status_ = 128 + number;
    enter(Phase::done, std::nullopt);
  }
}

void Supervision::reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    proxy_.on_child(pid);
    exec_log_.on_child(pid);
    if (layer_) layer_->on_child(pid);
    sandbox_.on_child(pid);
  }
}

void Supervision::fail_run(int status, const Error& error) {
  if (phase_ == Phase::ending || phase_ == Phase::done) return enter(Phase::done, std::nullopt);
  status_ = status;
  // Its last words may tell why.
  if (hear_out()) say_raw(fmt::format("sluice: {}", to_string(error)));
  enter(Phase::done, std::nullopt);
}

void Supervision::on_door() {
  using State = RunStatus::State;
  order_.status.state = phase_ == Phase::ending || phase_ == Phase::done ? State::ending
                        : was_running_                                   ? State::running
                                                                         : State::starting;
  if (const auto stop = door_->serve(order_.status)) on_stop(*stop);
}

void Supervision::on_stop(Stop how) {
  if (how == Stop::gently) return on_signal(SIGTERM);
  stop_asked_ = true;
  sandbox_.kill();
  if (phase_ == Phase::running) return on_ended(128 + SIGKILL);
  if (phase_ != Phase::ending) on_signal(SIGKILL);
}

}  // namespace sluice::launcher
