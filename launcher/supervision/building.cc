// What a supervisor does about what the sandbox says.
#include <fmt/core.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/probes/self_check.h"
#include "launcher/supervision/supervision.h"

namespace sluice::launcher {
namespace {

constexpr std::chrono::seconds registering_time{10};

}  // namespace

void Supervision::on_control() {
  auto message = sandbox_.receive();
  if (message && *message) return on_message(**message);
  if (message) return;
  const bool is_running = phase_ == Phase::running && was_running_;
  sandbox_.kill();
  if (is_running) {
    say("the sandbox was killed");
    on_ended(128 + SIGKILL);
  } else if (phase_ != Phase::ending) {
    fail_run(sluice_failed,
             {Errc::unavailable,
              "the sandbox ended while it was being made",
              "was it killed? look at the limits of this shell (ulimit -a) and at dmesg",
              {}});
  }
}

void Supervision::on_message(ControlMessage& message) {
  using Kind = ControlMessage::Kind;
  switch (message.kind) {
    case Kind::born:
      return sandbox_.on_born(message.number);
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
      full_ = std::move(message.sentence);
      return on_ended(message.number);
    case Kind::go:
    case Kind::signal:
      break;
  }
  fail_run(sluice_failed, {Errc::bug, "the sandbox spoke out of turn", "", {}});
}

void Supervision::on_ready(ControlMessage& message) {
  netns::Listeners listeners;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    listeners[i] = detach(message, netns::role_name(static_cast<netns::Role>(i)));
  }
  is_captured_ = bool(listeners[static_cast<std::size_t>(netns::Role::tproxy4)]);
  if (Fd counter = detach(message, "refused_udp")) {
    auto started = datagrams_.start(std::move(counter), Clock::now());
    if (!started) return fail_run(sluice_failed, started.error());
  }
  Fd denials = detach(message, "denials");
  if (!denials) return fail_run(sluice_failed, {Errc::bug, "the sandbox has no denials", "", {}});
  denials_ = std::make_unique<Denials>(std::move(denials));
  changes_ = detach(message, "changes");
  if (auto watched = watch_layer(); !watched) return fail_run(sluice_failed, watched.error());
  if (Fd terminal = detach(message, "terminal")) {
    auto relay = std::make_unique<TerminalRelay>(std::move(terminal), heard_, lines_);
    if (auto started = relay->start(); !started) return fail_run(sluice_failed, started.error());
    terminal_ = std::move(relay);
    had_terminal_ = true;
  }
  enter(Phase::registering, registering_time);
  if (auto handed = proxy_.hand_over(std::move(listeners)); !handed) {
    fail_run(sluice_failed, handed.error());
  }
}

void Supervision::on_started() {
  was_running_ = true;
  if (order_.timeout) clock_.limit_run(*order_.timeout, Clock::now());
  if (order_.started >= 0 && ::write(order_.started, "s", 1) != 1) on_stop(Stop::now);
}

ExecLog::Report Supervision::exec_reporter() {
  return [this](const std::string& event) { return proxy_.report_encoded(event); };
}

// It is a log and no wall: a kernel that refuses it is no reason to refuse the run.
void Supervision::on_exec_log(ControlMessage& message) {
  Fd listener = detach(message, "listener");
  if (!listener) {
    const Error why = errno_error(Errc::not_permitted, "seccomp", message.number);
    if (!order_.quiet) say(fmt::format("commands are not logged: {}", why.what));
  } else if (auto started = exec_log_.start(std::move(listener), detach(message, "set_id"));
             !started) {
    fail_run(sluice_failed, started.error());
  }
}

// Without the watcher the agent could start nothing more, and nobody would know why.
void Supervision::on_execs() {
  if (auto received = exec_log_.receive(exec_reporter(), Clock::now()); !received) {
    fail_run(sluice_failed, received.error());
  }
}

// Before the agent can write there.
Result<void> Supervision::watch_layer() {
  const Root& root = order_.plan.root;
  if (!root.is_on_disk()) return {};
  if (!changes_) return fail(Errc::bug, "the sandbox has no layer to be watched");
  // Nobody needs its path any more: another agent of the same user that sees the directory around
  // it (with another XDG_STATE_HOME it is not masked) must not read or run what lies there.
  if (::chmod(root.layers.c_str(), 0400) != 0) {
    return fail_errno(Errc::not_permitted, "cannot close the directory of the overlay's layer");
  }
  auto watch = LayerWatch::start(changes_.get(), root.bytes, root.sub_ids);
  if (!watch) return Failure(watch.error());
  layer_.emplace(std::move(*watch));
  return {};
}

// At once: while it is asked to end it would write on.
void Supervision::on_layer() {
  const std::string why = layer_->why();
  layer_.reset();
  if (phase_ == Phase::ending || phase_ == Phase::done) return;
  sandbox_.kill();
  if (phase_ != Phase::running) return fail_run(sluice_failed, {Errc::unavailable, why, "", {}});
  say(why);
  on_ended(128 + SIGKILL);
}

void Supervision::count_datagrams() {
  const auto report = [this](const netns::Event& event) { return proxy_.report(event); };
  if (auto told = datagrams_.tell(report, Clock::now()); !told) say(told.error().what);
}

}  // namespace sluice::launcher
