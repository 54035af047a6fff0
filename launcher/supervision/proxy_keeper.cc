#include "launcher/supervision/proxy_keeper.h"

#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t longest_log_line = 1024;
constexpr int polite_end_ms =
    10'000;  // longer than a machine stalls: the last audit lines are written

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
    : choice_(std::move(choice)),
      lease_([this] { return connect(); }, std::move(agent),
             std::holds_alternative<SharedProxy>(choice_) ? netns::LeaseKeeper::AfterDeath::wait
                                                          : netns::LeaseKeeper::AfterDeath::tell) {}

ProxyKeeper::~ProxyKeeper() {
  lease_.disconnect();
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

Result<Fd> ProxyKeeper::connect() {
  if (const auto* shared = std::get_if<SharedProxy>(&choice_)) {
    return connect_proxy(shared->socket);
  }
  auto process = start_proxy(std::get<ProxyStart>(choice_));
  if (!process) return Failure(process.error());
  pid_ = process->pid;
  log_ = std::move(process->log);
  return std::move(process->handover);
}

std::vector<ProxyKeeper::Event> ProxyKeeper::on_handover(Clock::time_point now) {
  std::vector<Event> events;
  for (netns::LeaseKeeper::Event& event : lease_.receive(now)) {
    if (const auto* gone = std::get_if<Gone>(&event); gone != nullptr && lease_.was_registered()) {
      replace(*gone, now, events);
    } else {
      std::visit([&](auto& value) { events.emplace_back(std::move(value)); }, event);
    }
  }
  return events;
}

// Of an embedded sluiced: who waits for a shared one is not told that it has gone.
void ProxyKeeper::replace(const Gone& gone, Clock::time_point now, std::vector<Event>& events) {
  std::string why = gone.why;
  for (;;) {
    end_process();
    for (Event& line : on_log()) events.push_back(std::move(line));
    log_.reset();
    if (deaths_.exceeded_by(now)) {
      events.emplace_back(lease_.give_up("sluiced died three times within a minute"));
      return;
    }
    events.emplace_back(Notice{fmt::format("sluiced is gone ({}): starting it again", why)});
    const auto begun = lease_.begin_again();
    if (begun) return;
    why = begun.error().what;
  }
}

std::vector<ProxyKeeper::Event> ProxyKeeper::tick(Clock::time_point now) {
  std::vector<Event> events;
  for (netns::LeaseKeeper::Event& event : lease_.tick(now)) {
    std::visit([&](auto& value) { events.emplace_back(std::move(value)); }, event);
  }
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
