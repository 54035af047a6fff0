// Keeps a sluiced behind an agent's listeners: starts or finds it, replaces it when it dies, gives
// up closed.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "launcher/supervision/proxy_process.h"
#include "netns/lease_keeper.h"

namespace sluice::launcher {

// Three deaths within a minute are one too many: pure.
class DeathLimit {
 public:
  using Clock = std::chrono::steady_clock;
  // Counts one; true when the proxy must not be started again.
  bool exceeded_by(Clock::time_point death);

 private:
  static constexpr std::size_t most = 3;
  static constexpr std::chrono::seconds window{60};
  std::deque<Clock::time_point> deaths_;
};

// The machine's sluiced, by its socket.
struct SharedProxy {
  std::string socket;
};
using ProxyChoice = std::variant<ProxyStart, SharedProxy>;

class ProxyKeeper {
 public:
  using Clock = std::chrono::steady_clock;
  using Gone = netns::LeaseKeeper::Gone;
  using Impossible = netns::LeaseKeeper::Impossible;
  using Notice = netns::LeaseKeeper::Notice;
  // A line of sluiced's own log, printable.
  struct LogLine {
    std::string text;
  };
  using Event = std::variant<netns::Registered, netns::Refused, netns::Denied, netns::Totals, Gone,
                             Impossible, Notice, LogLine>;

  ProxyKeeper(ProxyChoice choice, std::string agent);
  ProxyKeeper(const ProxyKeeper&) = delete;
  ProxyKeeper& operator=(const ProxyKeeper&) = delete;
  ~ProxyKeeper();

  // Starts or connects. Errors here end the run before anything else has started.
  Result<void> open() { return lease_.open(); }
  // Keeps the listeners and registers them; Registered, Refused or Gone follows as an event.
  Result<void> hand_over(netns::Listeners listeners) {
    return lease_.hand_over(std::move(listeners));
  }
  bool is_registered() const noexcept { return lease_.is_registered(); }
  // For sluiced to count; to be tried again where it fails.
  Result<void> report(const netns::Event& event) { return lease_.report(event); }
  Result<void> report_encoded(const std::string& event) { return lease_.report_encoded(event); }
  void part_with(const netns::Event& event) { lease_.part_with(event); }
  // See ProxyLink::ports().
  std::vector<std::uint16_t> ports() const { return lease_.ports(); }
  // Totals, or Gone, follow as an event; a sluiced that dies from here on is not replaced.
  Result<void> unregister() { return lease_.unregister(); }

  int handover_fd() const noexcept { return lease_.fd(); }
  int log_fd() const noexcept { return log_.get(); }

  // To be called when handover_fd() is readable. Gone only before the first Registered: afterwards
  // a dead sluiced is replaced here, and Notices tell.
  std::vector<Event> on_handover(Clock::time_point now);
  // To be called when log_fd() is readable.
  std::vector<Event> on_log();
  // When tick() wants to be called next, for a shared sluiced that is being waited for.
  std::optional<Clock::time_point> next_tick() const noexcept { return lease_.next_tick(); }
  std::vector<Event> tick(Clock::time_point now);
  // How often a sluiced that had died was replaced.
  unsigned replacements() const noexcept { return lease_.replacements(); }
  // The child has been reaped elsewhere.
  void on_child(pid_t pid) noexcept;

 private:
  Result<Fd> connect();
  void replace(const Gone& gone, Clock::time_point now, std::vector<Event>& events);
  void end_process();

  ProxyChoice choice_;
  netns::LeaseKeeper lease_;
  DeathLimit deaths_;
  Fd log_;
  std::string log_line_;
  pid_t pid_ = -1;
};

}  // namespace sluice::launcher
