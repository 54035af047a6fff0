#include "launcher/supervision/stderr_watch.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "launcher/sandbox/privileges.h"
#include "netns/handover.h"

namespace sluice::launcher {
namespace {

constexpr char finish_word = 'f';
constexpr char waiting_word = 'w';  // for who reads the caller's standard error
constexpr int waiting_ms = 1000;    // after which that is said again
constexpr int stuck_ms = 5000;      // without a word: an accomplice outside holds the pipe
constexpr std::size_t longest_account =
    ErofsWatch::most_paths * (ErofsWatch::longest_line + 1) + 16;

struct stat status_of(int fd) noexcept {
  struct stat status {};
  ::fstat(fd, &status);
  return status;
}

bool is_same(const struct stat& one, const struct stat& other) noexcept {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// A stream: of datagrams and packets each write is one.
bool is_stream(int fd) noexcept {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

}  // namespace

Result<AgentsStderr> StderrWatch::open(std::optional<uid_t> owner) {
  const struct stat error = status_of(STDERR_FILENO);
  if (S_ISREG(error.st_mode)) {
    // By whoever may only write to it nothing is read: not an error, only unheard.
    file_.reset(::open("/proc/self/fd/2", O_RDONLY | O_CLOEXEC | O_NOCTTY));
    before_ = error.st_size;
    hears_ = bool(file_);
    return AgentsStderr{};
  }
  is_socket_ = S_ISSOCK(error.st_mode) && is_stream(STDERR_FILENO);
  if (!S_ISFIFO(error.st_mode) && !is_socket_) return AgentsStderr{};
  if (is_same(error, status_of(STDIN_FILENO))) return AgentsStderr{};
  // Whose writes fail, and of which each write is a packet (pipe(2), O_DIRECT).
  const int flags = ::fcntl(STDERR_FILENO, F_GETFL);
  if ((flags & O_ACCMODE) == O_RDONLY || (!is_socket_ && (flags & O_DIRECT) != 0)) {
    return AgentsStderr{};
  }
  auto pipe = make_pipe();
  if (!pipe) return Failure(pipe.error());
  if (::fcntl(pipe->read_end.get(), F_SETFL, O_NONBLOCK) != 0 ||
      (owner && ::fchown(pipe->write_end.get(), *owner, static_cast<gid_t>(-1)) != 0)) {
    return fail_errno(Errc::unavailable, "cannot make a pipe for the agent's standard error");
  }
  if (!is_socket_) {
    auto copies = make_pipe();
    if (!copies) return Failure(copies.error());
    copies_ = std::move(*copies);
  }
  source_ = std::move(pipe->read_end);
  AgentsStderr agents{std::move(pipe->write_end), is_same(error, status_of(STDOUT_FILENO))};
  if (auto started = start_relay(); !started) return Failure(started.error());
  source_.reset();
  copies_ = {};
  hears_ = true;
  return agents;
}

Result<void> StderrWatch::start_relay() {
  auto pair = netns::socket_pair();
  if (!pair) return Failure(pair.error());
  const pid_t supervisor = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid > 0) {
    relay_ = std::move(pair->first);
    return {};
  }
  std::vector<int> kept{pair->second.get(), source_.get()};
  if (!is_socket_) kept.insert(kept.end(), {copies_.read_end.get(), copies_.write_end.get()});
  ::close(STDIN_FILENO);
  ::close(STDOUT_FILENO);
  if (!die_with_parent() || ::getppid() != supervisor || !close_all_but(std::move(kept)) ||
      ::prctl(PR_SET_NAME, "sluice-stderr") != 0 || ::prctl(PR_SET_DUMPABLE, 0) != 0) {
    ::_exit(1);
  }
  relay(std::move(pair->second));
}

// Its signals are blocked, as the supervisor's are: it ends with that.
void StderrWatch::relay(Fd supervisor) noexcept {
  for (;;) {
    pollfd waits[] = {wait(), {supervisor.get(), POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0) continue;
    if (waits[1].revents != 0) {
      char word = 0;
      if (::read(supervisor.get(), &word, 1) != 1) ::_exit(1);
      pass_on_rest(supervisor.get());
      std::string account{heard_.has_heard() ? 'h' : '-', heard_.has_more_paths() ? 'm' : '-'};
      for (const std::string& path : heard_.paths()) account += path + '\0';
      ::_exit(::send(supervisor.get(), account.data(), account.size(), MSG_NOSIGNAL) < 0 ? 1 : 0);
    }
    handle(waits[0].revents);
  }
}

void StderrWatch::take_account() {
  if (::send(relay_.get(), &finish_word, 1, MSG_NOSIGNAL) != 1) return;
  std::vector<char> account(longest_account);
  pollfd wait{relay_.get(), POLLIN, 0};
  while (::poll(&wait, 1, stuck_ms) > 0) {
    const ssize_t size = ::read(relay_.get(), account.data(), account.size());
    if (size <= 0) return;
    if (size == 1) continue;
    heard_ = ErofsWatch::of({account.data(), static_cast<std::size_t>(size)});
    return;
  }
}

void StderrWatch::finish() {
  if (relay_) take_account();
  if (file_) read_file();
  heard_.finish();
  relay_.reset();
  file_.reset();
}

pollfd StderrWatch::wait() const noexcept {
  if (waiting_ > 0) return {STDERR_FILENO, POLLOUT, 0};
  return {source_.get(), POLLIN, 0};
}

void StderrWatch::handle(short revents) {
  if (revents != 0 && (waiting_ > 0 || hear())) pass_on();
}

// False when there is nothing, or will be nothing.
bool StderrWatch::hear() {
  const ssize_t size = is_socket_ ? ::read(source_.get(), chunk_.data(), chunk_.size()) : copy();
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (size <= 0) {
    hang_up();
    return false;
  }
  heard_size_ = waiting_ = static_cast<std::size_t>(size);
  heard_.feed({chunk_.data(), heard_size_});
  return true;
}

// As read(2), but what is read stays in the pipe as well.
ssize_t StderrWatch::copy() noexcept {
  const ssize_t size =
      ::tee(source_.get(), copies_.write_end.get(), chunk_.size(), SPLICE_F_NONBLOCK);
  // A packet at a time, where the agent made its end one for packets (pipe(2), O_DIRECT).
  for (ssize_t read = 0; read < size;) {
    const ssize_t more =
        ::read(copies_.read_end.get(), chunk_.data() + read, static_cast<std::size_t>(size - read));
    if (more <= 0) return more;
    read += more;
  }
  return size;
}

int StderrWatch::unread() const noexcept {
  int size = 0;
  return source_ && ::ioctl(source_.get(), FIONREAD, &size) == 0 ? size : 0;
}

// False when its reader has to be waited for. Not with O_NONBLOCK, which would be set for whoever
// has the caller's descriptor.
bool StderrWatch::pass_on() noexcept {
  while (waiting_ > 0) {
    const ssize_t size = is_socket_
                             ? ::send(STDERR_FILENO, chunk_.data() + (heard_size_ - waiting_),
                                      waiting_, MSG_DONTWAIT | MSG_NOSIGNAL)
                             : ::splice(source_.get(), nullptr, STDERR_FILENO, nullptr, waiting_,
                                        SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
      // An agent that opens the pipe for reading takes back what it said: nothing waits then.
      if (is_socket_ || unread() > 0) return false;
      waiting_ = 0;
      return true;
    }
    if (size <= 0) {
      hang_up();
      return true;
    }
    waiting_ -= static_cast<std::size_t>(size);
  }
  return true;
}

// Whose reader is gone gets SIGPIPE at its next word, as it would have from the caller's pipe.
void StderrWatch::hang_up() noexcept {
  waiting_ = 0;
  source_.reset();
}

void StderrWatch::pass_on_rest(int supervisor) {
  // What an accomplice outside writes to a descriptor that it was sent does not keep us here.
  int left = unread();
  left -= is_socket_ ? 0 : static_cast<int>(waiting_);
  while (source_) {
    while (waiting_ > 0 && !pass_on()) {
      pollfd reader{STDERR_FILENO, POLLOUT, 0};
      if (::poll(&reader, 1, waiting_ms) == 0) {
        (void)::send(supervisor, &waiting_word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    }
    if (left <= 0 || !hear()) break;
    left -= static_cast<int>(waiting_);
  }
  heard_.finish();
}

void StderrWatch::read_file() {
  const off_t end = status_of(file_.get()).st_size;
  off_t at = std::max(std::min(before_, end), end - off_t{longest_look});
  while (at < end) {
    const ssize_t size = ::pread(file_.get(), chunk_.data(), chunk_.size(), at);
    if (size <= 0) return;
    heard_.feed({chunk_.data(), static_cast<std::size_t>(size)});
    at += size;
  }
}

}  // namespace sluice::launcher
