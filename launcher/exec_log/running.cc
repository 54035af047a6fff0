#include "launcher/exec_log/running.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "launcher/exec_log/pidfd.h"

namespace sluice::launcher {
namespace {

constexpr rlim_t other_descriptors = 64;

// Tried on a child of our own.
bool kernel_tells_status() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(7);
  if (child < 0) return false;
  const Fd process = open_process(child);
  ::waitpid(child, nullptr, 0);
  return process && exit_status_of(process.get()) == 7U;
}

std::size_t raise_room(std::size_t most) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, most + other_descriptors);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < other_descriptors) return 0;
  return std::min<std::size_t>(most, limit.rlim_cur - other_descriptors);
}

std::uint64_t milliseconds(Running::Clock::duration time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

bool has_ended(int process) {
  pollfd wait{process, POLLIN, 0};
  return ::poll(&wait, 1, 0) > 0;
}

}  // namespace

Running::Running(int epoll, Tell tell)
    : epoll_(epoll),
      tell_(std::move(tell)),
      tells_status_(kernel_tells_status()),
      room_(raise_room(most)) {}

Fd Running::hold(pid_t process, Fd open) {
  if (const auto before = programs_.find(process); before != programs_.end()) {
    before->second.is_replaced = !has_ended(before->second.process.get());
  }
  if (programs_.size() >= room_ && !programs_.contains(process)) return {};
  return open ? std::move(open) : open_process(process);
}

void Running::begin(netns::SeenExec seen, Fd process, Clock::time_point now) {
  const auto pid = static_cast<pid_t>(seen.pid);
  if (const auto before = programs_.find(pid); before != programs_.end()) {
    // Ended, and its number is another process's already; not the end of what took its place.
    if (!before->second.is_replaced && has_ended(before->second.process.get())) {
      before->second.ended = before->second.ended.value_or(now);
      end(before);
    } else {
      before->second.seen.ms = milliseconds(now - before->second.since);
      tell_(std::move(before->second.seen));
      programs_.erase(before);
    }
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<std::uint64_t>(pid);
  if (!process || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, process.get(), &event) != 0) {
    tell_(std::move(seen));
    return;
  }
  programs_.emplace(pid, Program{std::move(seen), std::move(process), now, {}, false});
}

void Running::end(Programs::iterator at) {
  Program& program = at->second;
  program.seen.ms = milliseconds(*program.ended - program.since);
  program.seen.exit_status = exit_status_of(program.process.get());
  tell_(std::move(program.seen));
  programs_.erase(at);
}

void Running::look(pid_t process, std::uint32_t events, Clock::time_point now) {
  const auto found = programs_.find(process);
  if (found == programs_.end()) return;
  Program& program = found->second;
  if (!program.ended) program.ended = now;
  // It is known how it ended once it was reaped: POLLHUP, which cannot be left out.
  epoll_event nothing{};
  nothing.data.u64 = static_cast<std::uint64_t>(process);
  if (tells_status_ && (events & EPOLLHUP) == 0 &&
      ::epoll_ctl(epoll_, EPOLL_CTL_MOD, program.process.get(), &nothing) == 0) {
    return;
  }
  end(found);
}

void Running::give_up() {
  for (auto& [process, program] : programs_) {
    if (program.ended) program.seen.ms = milliseconds(*program.ended - program.since);
    tell_(std::move(program.seen));
  }
  programs_.clear();
}

}  // namespace sluice::launcher
