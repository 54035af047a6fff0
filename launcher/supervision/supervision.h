// One run as its supervisor goes through it: what it knows, and what it does about each event.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/control.h"
#include "launcher/exec_log/exec_log.h"
#include "launcher/roots/layer_watch.h"
#include "launcher/sessions/door.h"
#include "launcher/supervision/denials.h"
#include "launcher/supervision/erofs_watch.h"
#include "launcher/supervision/own_lines.h"
#include "launcher/supervision/proxy_keeper.h"
#include "launcher/supervision/run_clock.h"
#include "launcher/supervision/sandbox_keeper.h"
#include "launcher/supervision/stderr_watch.h"
#include "launcher/supervision/supervisor.h"
#include "launcher/supervision/terminal_relay.h"
#include "netns/datagram_count.h"

namespace sluice::launcher {

class Supervision {
 public:
  explicit Supervision(SupervisorOrder order);
  Supervision(const Supervision&) = delete;
  Supervision& operator=(const Supervision&) = delete;
  ~Supervision() { sandbox_.kill(); }

  Result<void> start();
  // Answers what sluice exits with.
  int run();

 private:
  using Clock = RunClock::Clock;
  enum class Phase : std::uint8_t { building, registering, running, ending, done };

  // supervision.cc: the loop, signals and times
  Result<void> open_stderr(SandboxStart& start);
  void enter(Phase phase, std::optional<Clock::duration> time);
  std::vector<pollfd> waits() const;
  int poll_timeout() const;
  void handle(const std::vector<pollfd>& ready);
  void on_time();
  void on_late_phase();
  void on_signal(int number);
  void reap();
  void on_door();
  void on_stop(Stop how);
  void fail_run(int status, const Error& error);
  void say(std::string_view line);
  void say_raw(std::string line);
  void write_own(std::string_view ours);

  // building.cc: what the sandbox says
  void on_control();
  void on_message(ControlMessage& message);
  void on_ready(ControlMessage& message);
  void on_started();
  void on_exec_log(ControlMessage& message);
  void on_execs();
  Result<void> watch_layer();
  void on_layer();
  void count_datagrams();
  ExecLog::Report exec_reporter();

  // registration.cc: what sluiced says of the registration
  void on_proxy(std::vector<ProxyKeeper::Event> events);
  void on_registered(const netns::Registered& registered);
  void on_denied(const std::string& sentence);

  // ending.cc: how the run is brought to its end, and what is told then
  void on_ended(int status);
  void finish_exec_log();
  void tell_sluiced();
  bool leave_terminal();
  bool hear_out();
  Result<void> learn_what_changed();
  void keep_what_changed();
  void say_end();

  SupervisorOrder order_;
  ProxyKeeper proxy_;
  Fd signals_;
  std::optional<Door> door_;
  SandboxKeeper sandbox_;
  Fd changes_;                       // of the overlay
  std::optional<LayerWatch> layer_;  // where that lies on disk
  ErofsWatch heard_;                 // on the agent's terminal
  OwnLines lines_;                   // there
  StderrWatch stderr_;
  std::unique_ptr<TerminalRelay> terminal_;
  std::size_t unsaid_ = 0;  // there
  bool is_read_ = true;     // what we say: false when a signal has ended the wait for who reads it
  std::unique_ptr<Denials> denials_;
  bool had_terminal_ = false;
  Phase phase_ = Phase::building;
  RunClock clock_;
  bool timed_out_ = false;
  bool was_running_ = false;
  bool was_registered_ = false;
  bool stop_asked_ = false;
  bool is_captured_ = true;
  std::string leak_;  // what the self-check reached
  std::string full_;  // tell_full()
  int status_ = sluice_failed;
  std::optional<netns::Totals> totals_;
  netns::DatagramCount datagrams_;
  ExecLog exec_log_;
};

}  // namespace sluice::launcher
