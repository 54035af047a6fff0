#include "bench/load/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace sluice::bench {

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

void Loop::watch(int fd, std::uint32_t events, Watcher& watcher) const noexcept {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watcher;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Loop::change(int fd, std::uint32_t events, Watcher& watcher) const noexcept {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watcher;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::run_once(Clock::time_point until) const {
  std::array<epoll_event, 512> events;
  const auto wait = std::max(until - Clock::now(), Clock::duration::zero());
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(wait);
  timespec limit{};
  limit.tv_sec = whole.count();
  limit.tv_nsec = std::chrono::nanoseconds(wait - whole).count();
  const int count = ::epoll_pwait2(epoll_.get(), events.data(), events.size(), &limit, nullptr);
  for (int i = 0; i < count; ++i) {
    static_cast<Watcher*>(events[i].data.ptr)->ready(events[i].events);
  }
}

}  // namespace sluice::bench
