#include "launcher/supervision/stderr_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/pipe.h"
#include "base/signals.h"
#include "launcher/sandbox/privileges.h"
#include "netns/handover.h"

namespace sluice::launcher {
namespace {

constexpr char finish_word = 'f';
constexpr std::size_t longest_word = 16384;  // any other is a line
constexpr int look_ms = 1000;
constexpr int most_idle_looks = 5;  // without an account, though the caller's reader reads
constexpr std::size_t longest_account =
    ErofsWatch::most_paths * (ErofsWatch::longest_line + 1) + 16;
// Before the account: how the last line ends.
constexpr char mid_line = 'm';
constexpr char whole_line = 'w';

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

bool can_be_written(int fd, int timeout_ms) noexcept {
  pollfd reader{fd, POLLOUT, 0};
  return ::poll(&reader, 1, timeout_ms) > 0;
}

// Waits for who reads the caller's standard error. False when nobody does any more.
bool pass_on(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t size = ::write(STDERR_FILENO, bytes.data(), bytes.size());
    if (size >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {  // the caller set O_NONBLOCK
      can_be_written(STDERR_FILENO, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

StderrWatch::StderrWatch() : lines_([](std::string_view ours) { pass_on(ours); }) {}

Result<AgentsStderr> StderrWatch::open(std::optional<uid_t> owner) {
  const struct stat error = status_of(STDERR_FILENO);
  if (S_ISREG(error.st_mode)) {
    // By whoever may only write to it nothing is read: not an error, only unheard.
    file_.reset(::open("/proc/self/fd/2", O_RDONLY | O_CLOEXEC | O_NOCTTY));
    before_ = error.st_size;
    hears_ = bool(file_);
    return AgentsStderr{};
  }
  const bool is_socket = S_ISSOCK(error.st_mode) && is_stream(STDERR_FILENO);
  if (!S_ISFIFO(error.st_mode) && !is_socket) return AgentsStderr{};
  if (is_same(error, status_of(STDIN_FILENO))) return AgentsStderr{};
  // Whose writes fail, and of which each write is a packet (pipe(2), O_DIRECT).
  const int flags = ::fcntl(STDERR_FILENO, F_GETFL);
  if ((flags & O_ACCMODE) == O_RDONLY || (!is_socket && (flags & O_DIRECT) != 0)) {
    return AgentsStderr{};
  }
  auto pipe = make_pipe();
  if (!pipe) return Failure(pipe.error());
  if (::fcntl(pipe->read_end.get(), F_SETFL, O_NONBLOCK) != 0 ||
      (owner && ::fchown(pipe->write_end.get(), *owner, static_cast<gid_t>(-1)) != 0)) {
    return fail_errno(Errc::unavailable, "cannot make a pipe for the agent's standard error");
  }
  source_ = std::move(pipe->read_end);
  AgentsStderr agents{std::move(pipe->write_end), is_same(error, status_of(STDOUT_FILENO))};
  if (auto started = start_relay(); !started) return Failure(started.error());
  source_.reset();
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
    relay_pid_ = pid;
    return {};
  }
  ::close(STDIN_FILENO);
  ::close(STDOUT_FILENO);
  if (!die_with_parent() || ::getppid() != supervisor ||
      !close_all_but({pair->second.get(), source_.get()}) ||
      ::prctl(PR_SET_NAME, "sluice-stderr") != 0 || ::prctl(PR_SET_DUMPABLE, 0) != 0) {
    ::_exit(1);
  }
  relay(std::move(pair->second));
}

// Its signals are blocked, as the supervisor's are: it ends with that.
void StderrWatch::relay(Fd supervisor) noexcept {
  for (;;) {
    pollfd waits[] = {{source_.get(), POLLIN, 0},
                      {lines_.is_full() ? -1 : supervisor.get(), POLLIN, 0}};
    if (::poll(waits, 2, ms_left()) < 0) continue;
    if (waits[1].revents != 0) on_word(supervisor.get());
    if (waits[0].revents != 0) hear();
    lines_.tick(OwnLines::Clock::now());
  }
}

// For poll(2).
int StderrWatch::ms_left() const {
  if (!lines_.due()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*lines_.due() - OwnLines::Clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

void StderrWatch::on_word(int supervisor) {
  std::array<char, longest_word> word;
  const ssize_t size = ::read(supervisor, word.data(), word.size());
  if (size <= 0) ::_exit(1);
  if (size > 1 || word[0] != finish_word) {
    lines_.say({word.data(), static_cast<std::size_t>(size)}, OwnLines::Clock::now());
    return;
  }
  hear_rest();
  lines_.end(false);
  const std::string account = (lines_.is_mid_line() ? mid_line : whole_line) + heard_.account();
  ::_exit(::send(supervisor, account.data(), account.size(), MSG_NOSIGNAL) < 0 ? 1 : 0);
}

// What was read and passed on. Where the reader has gone, whoever writes gets SIGPIPE, as from the
// caller's pipe.
std::size_t StderrWatch::hear() {
  const ssize_t size = ::read(source_.get(), chunk_.data(), chunk_.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  const std::string_view said(chunk_.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  heard_.feed(said);
  if (size <= 0 || !lines_.pass(said, pass_on)) source_.reset();
  return said.size();
}

void StderrWatch::hear_rest() {
  // What an accomplice outside writes to a descriptor that it was sent does not keep us here.
  int left = 0;
  if (::ioctl(source_.get(), FIONREAD, &left) != 0) left = 0;
  while (source_ && left > 0) {
    const std::size_t size = hear();
    if (size == 0) break;
    left -= static_cast<int>(size);
  }
  heard_.finish();
}

bool StderrWatch::say(std::string_view line) noexcept {
  if (!relay_) return false;
  const std::string_view said = line.substr(0, longest_word);
  if (::send(relay_.get(), said.data(), said.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) ++unsaid_;
  return true;
}

bool StderrWatch::take_account(int signals) {
  std::vector<char> account(longest_account);
  pollfd waits[] = {{relay_.get(), POLLIN, 0}, {signals, POLLIN, 0}};
  bool is_asked = false;
  for (int idle_looks = 0;;) {
    // It may have more lines to say than there is room for.
    is_asked = is_asked || ::send(relay_.get(), &finish_word, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
    if (::poll(waits, 2, look_ms) == 0) {
      // It waits for the caller's reader, or for an accomplice outside who holds the pipe.
      idle_looks = can_be_written(STDERR_FILENO, 0) ? idle_looks + 1 : 0;
      if (idle_looks == most_idle_looks) return true;
      continue;
    }
    if (waits[1].revents != 0 && ends_programs(read_signals(signals))) return false;
    if (waits[0].revents == 0) continue;
    const ssize_t size = ::read(relay_.get(), account.data(), account.size());
    if (size <= 0) return true;
    const std::string_view told(account.data(), static_cast<std::size_t>(size));
    is_mid_line_ = told[0] == mid_line;
    heard_ = ErofsWatch::of(told.substr(1));
    ::waitpid(relay_pid_, nullptr, 0);  // that was its last word
    return true;
  }
}

bool StderrWatch::finish(int signals) {
  if (relay_) is_whole_ = take_account(signals);
  if (file_) read_file();
  heard_.finish();
  relay_.reset();
  file_.reset();
  return is_whole_;
}

void StderrWatch::read_file() {
  const off_t end = status_of(file_.get()).st_size;
  off_t at = std::max(std::min(before_, end), end - off_t{longest_look});
  while (at < end) {
    const ssize_t size = ::pread(file_.get(), chunk_.data(), chunk_.size(), at);
    if (size <= 0) return;
    heard_.feed({chunk_.data(), static_cast<std::size_t>(size)});
    at += size;
    is_mid_line_ = chunk_[static_cast<std::size_t>(size) - 1] != '\n';
  }
}

}  // namespace sluice::launcher
