#include "launcher/exec_log/watcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "base/capabilities.h"
#include "launcher/exec_log/attempt.h"
#include "launcher/exec_log/outbox.h"
#include "launcher/exec_log/pidfd.h"
#include "launcher/exec_log/running.h"
#include "launcher/sandbox/held_calls.h"
#include "launcher/sandbox/privileges.h"
#include "netns/handover.h"

namespace sluice::launcher {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds gathering{100};  // then a message is sent, however short
constexpr std::size_t events_at_once = 64;
// Keys in epoll above every process's number.
constexpr std::uint64_t listener_key = std::uint64_t{1} << 32;
constexpr std::uint64_t out_key = listener_key + 1;

class Watcher {
 public:
  Watcher(Notifications notifications, Fd out, Fd set_id, Fd epoll)
      : notifications_(std::move(notifications)),
        out_(std::move(out)),
        set_id_(std::move(set_id)),
        epoll_(std::move(epoll)),
        running_(epoll_.get(), [this](netns::SeenExec seen) { put(std::move(seen)); }) {}

  // False: something is broken.
  bool run();

 private:
  bool watch(int fd, std::uint64_t key, std::uint32_t events, int operation);
  int timeout() const;
  bool on_notification(std::uint32_t events);
  bool answer(const Notification& notification);
  bool pass_on(Notification notification) const;
  void put(netns::SeenExec seen);
  bool send();
  bool is_done() const;

  Notifications notifications_;
  Fd out_;
  Fd set_id_;
  Fd epoll_;
  Running running_;
  Outbox outbox_;
  std::optional<AgentRoot> root_;  // of the first process
  std::string message_;            // not yet sent
  bool waits_for_room_ = false;
  std::optional<Clock::time_point> send_at_;
  std::optional<Clock::time_point> deserted_;  // since when nobody is left to start a program
};

bool Watcher::watch(int fd, std::uint64_t key, std::uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  return ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
}

void Watcher::put(netns::SeenExec seen) {
  outbox_.put(std::move(seen));
  if (!send_at_) send_at_ = Clock::now() + gathering;
}

int Watcher::timeout() const {
  std::optional<Clock::time_point> first;
  if (!waits_for_room_) first = send_at_;
  if (deserted_ && (!first || *deserted_ + last_ends < *first)) first = *deserted_ + last_ends;
  if (!first) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*first - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

// Whatever happens to the notes, the thread goes on.
bool Watcher::answer(const Notification& notification) {
  if (!root_) root_.emplace(notification.thread, AgentRoot::CanChange(bool(set_id_)));
  Fd process = open_process(notification.thread);
  auto seen = look_at(notification, *root_, process.get());
  if (seen) process = running_.hold(static_cast<pid_t>(seen->pid), std::move(process));
  const bool is_valid = notifications_.is_valid(notification);
  const auto now = Clock::now();
  if (!notifications_.let_go_on(notification)) return errno == ENOENT;
  if (seen && is_valid) running_.begin(std::move(*seen), std::move(process), now);
  return true;
}

// With its thread as pid 1 sees it. Where that has become another's number meanwhile, pid 1 finds
// that the notification is no longer valid.
bool Watcher::pass_on(Notification notification) const {
  notification.thread = innermost_number(notification.thread);
  int error_number = ESRCH;
  if (notification.thread > 0) {
    if (tell_of_call(set_id_.get(), notification)) return true;
    error_number = errno == EAGAIN ? EAGAIN : ENOSYS;
  }
  return notifications_.answer(notification, error_number) || errno == ENOENT;
}

bool Watcher::on_notification(std::uint32_t events) {
  if ((events & EPOLLIN) == 0) {
    // EPOLLHUP: the last process under the filter has ended.
    if (!deserted_) deserted_ = Clock::now();
    return watch(notifications_.fd(), listener_key, 0, EPOLL_CTL_DEL);
  }
  const auto notification = notifications_.receive();
  if (!notification) return false;
  if (!*notification) return true;
  return is_exec((*notification)->call) ? answer(**notification) : pass_on(**notification);
}

// As much as there is room for.
bool Watcher::send() {
  if (waits_for_room_) return true;
  while (!message_.empty() || !outbox_.empty()) {
    if (message_.empty()) message_ = outbox_.take();
    if (netns::send_packet(out_.get(), message_)) {
      message_.clear();
      continue;
    }
    if (errno != EAGAIN) return false;
    waits_for_room_ = true;
    return watch(out_.get(), out_key, EPOLLOUT, EPOLL_CTL_ADD);
  }
  send_at_.reset();
  return true;
}

bool Watcher::is_done() const {
  return deserted_ && running_.empty() && outbox_.empty() && message_.empty();
}

bool Watcher::run() {
  if (!watch(notifications_.fd(), listener_key, EPOLLIN, EPOLL_CTL_ADD)) return false;
  std::array<epoll_event, events_at_once> events{};
  while (!is_done()) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), events_at_once, timeout());
    if (count < 0 && errno != EINTR) return false;
    const auto now = Clock::now();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.u64 == listener_key) {
        if (!on_notification(event.events)) return false;
      } else if (event.data.u64 == out_key) {
        waits_for_room_ = false;
        if (!watch(out_.get(), out_key, 0, EPOLL_CTL_DEL)) return false;
      } else {
        running_.look(static_cast<pid_t>(event.data.u64), event.events, now);
      }
    }
    if (deserted_ && now >= *deserted_ + last_ends) running_.give_up();
    const bool is_time = send_at_ && (now >= *send_at_ || deserted_ || outbox_.has_much());
    if (is_time && !send()) return false;
  }
  return true;
}

// A root caller's: reading what agents do is all that is left.
Result<void> keep_rights_to_read() {
  if (::geteuid() != 0) return {};
  const std::unique_ptr<_cap_struct, int (*)(void*)> kept(::cap_get_proc(), ::cap_free);
  if (!kept) return fail_errno(Errc::bug, "cap_get_proc");
  for (cap_value_t cap = 0; cap < cap_max_bits(); ++cap) {
    if (cap == CAP_SYS_PTRACE || cap == CAP_DAC_READ_SEARCH) continue;
    for (const cap_flag_t set : {CAP_EFFECTIVE, CAP_PERMITTED, CAP_INHERITABLE}) {
      ::cap_set_flag(kept.get(), set, 1, &cap, CAP_CLEAR);
    }
  }
  if (::cap_set_proc(kept.get()) != 0) return fail_errno(Errc::not_permitted, "cap_set_proc");
  return {};
}

Result<void> settle(int listener, int out, int set_id) {
  if (auto done = die_with_parent(); !done) return done;
  if (::prctl(PR_SET_NAME, "sluice-execs") != 0) return fail_errno(Errc::bug, "PR_SET_NAME");
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return fail_errno(Errc::bug, "PR_SET_DUMPABLE");
  if (auto done = keep_rights_to_read(); !done) return done;
  if (auto done = forbid_new_privileges(); !done) return done;
  sigset_t none;
  ::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return fail_errno(Errc::bug, "sigprocmask");
  // The person's Ctrl-C and Ctrl-Z are for the agent; this ends with the supervisor.
  for (const int number : {SIGINT, SIGQUIT, SIGTSTP, SIGTERM, SIGHUP, SIGPIPE, SIGTTIN, SIGTTOU}) {
    ::signal(number, SIG_IGN);
  }
  for (const int fd : {out, set_id}) {
    if (fd >= 0 && ::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return fail_errno(Errc::bug, "F_SETFL");
  }
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(standard);
  return close_all_but({listener, out, set_id});
}

// When there is room for it: without it the supervisor takes this for a death.
bool say_last_word(int out) {
  while (!netns::send_packet(out, watcher_end)) {
    if (errno != EAGAIN) return false;
    pollfd room{out, POLLOUT, 0};
    ::poll(&room, 1, -1);
  }
  return true;
}

}  // namespace

void be_watcher(Fd listener, Fd out, Fd set_id) noexcept {
  const pid_t supervisor = ::getppid();
  const auto settled = settle(listener.get(), out.get(), set_id.get());
  if (!settled || ::getppid() != supervisor) ::_exit(1);
  auto notifications = Notifications::of(std::move(listener));
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!notifications || !epoll) ::_exit(1);
  const int supervisor_end = out.get();
  Watcher watcher(std::move(*notifications), std::move(out), std::move(set_id), std::move(epoll));
  if (!watcher.run()) ::_exit(1);
  ::_exit(say_last_word(supervisor_end) ? 0 : 1);
}

}  // namespace sluice::launcher
