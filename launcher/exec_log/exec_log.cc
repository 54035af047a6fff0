#include "launcher/exec_log/exec_log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "launcher/exec_log/watcher.h"
#include "netns/exec_event.h"

namespace sluice::launcher {
namespace {

constexpr std::chrono::milliseconds retry_pause{20};
constexpr std::chrono::seconds last_words{15};
static_assert(last_words > last_ends, "the watcher gives up before it is given up");

}  // namespace

ExecLog::~ExecLog() { kill_watcher(); }

void ExecLog::kill_watcher() noexcept {
  if (watcher_ <= 0) return;
  ::kill(watcher_, SIGKILL);
  ::waitpid(watcher_, nullptr, 0);
  watcher_ = -1;
}

void ExecLog::on_child(pid_t pid) noexcept {
  if (pid == watcher_) watcher_ = -1;
}

Result<void> ExecLog::start(Fd listener, Fd set_id) {
  auto pair = netns::socket_pair();
  if (!pair) return Failure(pair.error());
  if (::fcntl(pair->first.get(), F_SETFL, O_NONBLOCK) != 0) {
    return fail_errno(Errc::bug, "F_SETFL");
  }
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid == 0) be_watcher(std::move(listener), std::move(pair->second), std::move(set_id));
  watcher_ = pid;
  from_watcher_ = std::move(pair->first);
  return {};
}

void ExecLog::tick(const Report& report, Clock::time_point now) {
  if (!held_ || now < retry_at_) return;
  retry_at_ = now + retry_pause;
  if (!report(*held_)) return;
  held_.reset();
  retry_at_.reset();
}

// False: there is nothing now, or there never will be.
Result<bool> ExecLog::take_next(const Report& report, Clock::time_point now) {
  auto packet = netns::receive_packet(from_watcher_.get());
  if (packet && !*packet) return false;
  if (!packet || (*packet)->closed) return fail(Errc::unavailable, "the commands log died");
  if ((*packet)->bytes == watcher_end) {
    from_watcher_.reset();
    return false;
  }
  if (!netns::is_exec_event((*packet)->bytes)) {
    return fail(Errc::bug, "the commands log told what it did not see");
  }
  held_ = std::move((*packet)->bytes);
  retry_at_ = now;
  tick(report, now);
  return true;
}

Result<void> ExecLog::receive(const Report& report, Clock::time_point now) {
  if (held_ || !from_watcher_) return {};
  return take_next(report, now).map([](bool) {});
}

Result<bool> ExecLog::finish(const Report& report) {
  const auto until = Clock::now() + last_words;
  Result<bool> is_told = true;
  for (auto now = Clock::now(); (held_ || from_watcher_) && now < until; now = Clock::now()) {
    tick(report, now);
    pollfd wait{fd(), POLLIN, 0};
    const auto pause = std::min<Clock::duration>(until - now, held_ ? retry_pause : last_words);
    const auto pause_ms = std::chrono::ceil<std::chrono::milliseconds>(pause).count();
    if (::poll(&wait, 1, static_cast<int>(pause_ms)) <= 0) continue;
    if (auto taken = take_next(report, now); !taken) {
      is_told = Failure(taken.error());
      break;
    }
  }
  if (is_told) is_told = !held_ && !from_watcher_;
  held_.reset();
  retry_at_.reset();
  from_watcher_.reset();
  kill_watcher();
  return is_told;
}

}  // namespace sluice::launcher
