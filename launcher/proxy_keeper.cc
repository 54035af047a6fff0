#include "launcher/proxy_keeper.h"

#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/text.h"
#include "netns/remake.h"

namespace sluice::launcher {
namespace {

constexpr std::chrono::milliseconds retry_pause{250};
constexpr std::chrono::milliseconds slow_retry_pause{1000};
constexpr std::chrono::seconds retry_time{30};
constexpr std::size_t longest_log_line = 1024;
constexpr int polite_end_ms = 1000;

void flush_line(std::string& line, std::vector<ProxyKeeper::Event>& events) {
  if (!line.empty()) events.emplace_back(ProxyKeeper::LogLine{text::printable(line)});
  line.clear();
}

}  // namespace

bool DeathLimit::exceeded_by(Clock::time_point death) {
  deaths_.push_back(death);
  while (deaths_.front() + window < death) deaths_.pop_front();
  return deaths_.size() >= most;
}

ProxyKeeper::ProxyKeeper(ProxyChoice choice, std::string agent)
    : choice_(std::move(choice)), link_(std::move(agent)) {}

ProxyKeeper::~ProxyKeeper() {
  link_.disconnect();
  waiting_.reset();
  // An embedded sluiced ends by itself when its supervisor's end of the handover is gone.
  pollfd log{log_.get(), 0, 0};
  if (pid_ > 0 && log_) ::poll(&log, 1, polite_end_ms);
  end_process();
}

void ProxyKeeper::end_process() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void ProxyKeeper::on_child(pid_t pid) noexcept {
  if (pid == pid_) pid_ = -1;
}

Result<void> ProxyKeeper::open() {
  if (const auto* shared = std::get_if<SharedProxy>(&choice_)) {
    auto connected = connect_proxy(shared->socket);
    if (!connected) return Failure(connected.error());
    waiting_ = std::move(*connected);
    return {};
  }
  auto process = start_proxy(std::get<ProxyStart>(choice_));
  if (!process) return Failure(process.error());
  pid_ = process->pid;
  waiting_ = std::move(process->handover);
  log_ = std::move(process->log);
  return {};
}

Result<void> ProxyKeeper::hand_over(Listeners listeners) {
  listeners_ = std::move(listeners);
  return link_.register_over(std::move(waiting_), listeners_);
}

Result<void> ProxyKeeper::unregister() {
  was_registered_ = false;
  return link_.unregister();
}

std::vector<ProxyKeeper::Event> ProxyKeeper::on_handover(Clock::time_point now) {
  std::vector<Event> events;
  if (waiting_) {
    // Nothing was asked, so only its end can have made it readable.
    waiting_.reset();
    events.emplace_back(Gone{"it has ended"});
    return events;
  }
  for (ProxyLink::Event& event : link_.receive()) {
    if (std::holds_alternative<netns::Registered>(event)) {
      if (was_registered_) ++replacements_;
      was_registered_ = true;
    }
    if (const auto* gone = std::get_if<Gone>(&event); gone != nullptr && was_registered_) {
      replace(*gone, now, events);
      continue;
    }
    if (const auto* refused = std::get_if<netns::Refused>(&event);
        refused != nullptr && was_registered_) {
      link_.disconnect();
      give_up(refused->error, events);
      continue;
    }
    std::visit([&](auto& value) { events.emplace_back(std::move(value)); }, event);
  }
  return events;
}

void ProxyKeeper::replace(const Gone& gone, Clock::time_point now, std::vector<Event>& events) {
  if (std::holds_alternative<SharedProxy>(choice_)) {
    events.emplace_back(
        Notice{fmt::format("sluiced is gone ({}): waiting {} s for it, connections stand still",
                           gone.why, retry_time.count())});
    retry_until_ = now + retry_time;
    retry_at_ = now + retry_pause;
    return;
  }
  end_process();
  for (Event& line : on_log()) events.push_back(std::move(line));
  log_.reset();
  if (deaths_.exceeded_by(now)) {
    give_up("sluiced died three times within a minute", events);
    return;
  }
  events.emplace_back(Notice{fmt::format("sluiced is gone ({}): starting it again", gone.why)});
  restart(now, events);
}

void ProxyKeeper::restart(Clock::time_point now, std::vector<Event>& events) {
  auto opened = open();
  if (opened) opened = link_.register_over(std::move(waiting_), listeners_);
  if (opened) return;
  link_.disconnect();
  replace(Gone{opened.error().what}, now, events);
}

void ProxyKeeper::give_up(std::string why, std::vector<Event>& events) {
  retry_at_.reset();
  close_listeners(listeners_);
  events.emplace_back(
      Notice{fmt::format("{}: the agent's network is closed, every connection is refused until the "
                         "run is started again",
                         why)});
}

// The agent's connections wait no longer; a sluiced that comes back gets new listeners.
void ProxyKeeper::stand_down(const std::string& why, Clock::time_point now,
                             std::vector<Event>& events) {
  auto kept = netns::namespace_of(listeners_.front().get());
  if (!kept) return give_up(why, events);
  namespace_ = std::move(*kept);
  close_listeners(listeners_);
  retry_at_ = now + slow_retry_pause;
  events.emplace_back(Notice{fmt::format(
      "{}: the agent's network is closed, every connection is refused until sluiced is back",
      why)});
}

Result<void> ProxyKeeper::remake_listeners() {
  if (!namespace_) return {};
  auto sockets = netns::open_listeners_in(namespace_.get());
  if (!sockets) return Failure(sockets.error());
  for (netns::RoleSocket& socket : *sockets) {
    listeners_[static_cast<std::size_t>(socket.role)] = std::move(socket.fd);
  }
  namespace_.reset();
  return {};
}

std::vector<ProxyKeeper::Event> ProxyKeeper::tick(Clock::time_point now) {
  std::vector<Event> events;
  if (!retry_at_ || now < *retry_at_) return events;
  retry_at_ = now + (namespace_ ? slow_retry_pause : retry_pause);
  auto opened = open();
  if (opened) opened = remake_listeners();
  if (opened) opened = link_.register_over(std::move(waiting_), listeners_);
  if (opened) {
    retry_at_.reset();
    events.emplace_back(Notice{"sluiced is back"});
    return events;
  }
  link_.disconnect();
  waiting_.reset();
  if (!namespace_ && now >= retry_until_) stand_down(opened.error().what, now, events);
  return events;
}

std::vector<ProxyKeeper::Event> ProxyKeeper::on_log() {
  std::vector<Event> events;
  std::array<char, 4096> chunk;
  while (log_) {
    const ssize_t size = ::read(log_.get(), chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return events;
    if (size == 0) {
      log_.reset();
      break;
    }
    for (const char c : std::string_view(chunk.data(), static_cast<std::size_t>(size))) {
      if (c != '\n') log_line_ += c;
      if (c == '\n' || log_line_.size() >= longest_log_line) flush_line(log_line_, events);
    }
  }
  flush_line(log_line_, events);
  return events;
}

}  // namespace sluice::launcher
