#include "launcher/supervision/stderr_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/pipe.h"
#include "base/signals.h"
#include "launcher/supervision/stderr_carrier.h"

namespace sluice::launcher {
namespace {

constexpr int look_ms = 1000;
constexpr int most_idle_looks = 5;  // without an account, though the caller's reader reads

struct stat status_of(int fd) noexcept {
  struct stat status {};
  ::fstat(fd, &status);
  return status;
}

bool is_same(const struct stat& one, const struct stat& other) noexcept {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bool is_stream(int fd) noexcept {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

// Else the agent's descriptor is the caller's: inetd's socket, whatever cannot be written, and what
// takes each write as one (datagrams; packets, pipe(2)).
bool can_be_carried(const struct stat& error) noexcept {
  if (is_same(error, status_of(STDIN_FILENO))) return false;
  const int flags = ::fcntl(STDERR_FILENO, F_GETFL);
  if ((flags & O_ACCMODE) == O_RDONLY) return false;
  return S_ISSOCK(error.st_mode) ? is_stream(STDERR_FILENO) : (flags & O_DIRECT) == 0;
}

Result<Pipe> make_agents_pipe(std::optional<uid_t> owner) {
  auto pipe = make_pipe();
  if (!pipe) return pipe;
  if (::fcntl(pipe->read_end.get(), F_SETFL, O_NONBLOCK) != 0 ||
      (owner && ::fchown(pipe->write_end.get(), *owner, static_cast<gid_t>(-1)) != 0)) {
    return fail_errno(Errc::unavailable, "cannot make a pipe for the agent's standard error");
  }
  return pipe;
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
  if (!S_ISFIFO(error.st_mode) && !S_ISSOCK(error.st_mode)) return AgentsStderr{};
  Pipe agents;
  if (can_be_carried(error)) {
    auto pipe = make_agents_pipe(owner);
    if (!pipe) return Failure(pipe.error());
    agents = std::move(*pipe);
    hears_ = true;
  }
  std::vector<int> kept{STDERR_FILENO};
  if (hears_) kept.push_back(agents.read_end.get());
  auto carrier = start_carrier("sluice-stderr", SOCK_SEQPACKET, std::move(kept), [&](Fd socket) {
    carry_stderr(std::move(agents.read_end), std::move(socket));
  });
  if (!carrier) return Failure(carrier.error());
  carrier_ = std::move(*carrier);
  return AgentsStderr{std::move(agents.write_end), is_same(error, status_of(STDOUT_FILENO))};
}

bool StderrWatch::say(std::string_view line) noexcept {
  if (!carrier_.socket) return false;
  if (!send(line.substr(0, longest_carried_line))) ++unsaid_;
  return true;
}

bool StderrWatch::send(std::string_view word) noexcept {
  return ::send(carrier_.socket.get(), word.data(), word.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

bool StderrWatch::take_account(int signals) {
  std::vector<char> account(CarrierAccount::longest);
  pollfd waits[] = {{carrier_.socket.get(), POLLIN, 0}, {signals, POLLIN, 0}};
  bool is_asked = false;
  for (int idle_looks = 0;;) {
    // It may have more lines to say than there is room for.
    is_asked = is_asked || send(finish_carrying);
    if (::poll(waits, 2, look_ms) == 0) {
      // It waits for the caller's reader, or for an accomplice outside who holds the pipe.
      idle_looks = can_be_passed_on(STDERR_FILENO, 0) ? idle_looks + 1 : 0;
      if (idle_looks == most_idle_looks) return true;
      continue;
    }
    if (waits[1].revents != 0 && ends_programs(read_signals(signals))) return false;
    if (waits[0].revents == 0) continue;
    const ssize_t size = ::read(carrier_.socket.get(), account.data(), account.size());
    if (size <= 0) return true;
    auto told = CarrierAccount::decode({account.data(), static_cast<std::size_t>(size)});
    is_mid_line_ = told.is_mid_line;
    heard_ = std::move(told.heard);
    ::waitpid(carrier_.pid, nullptr, 0);  // that was its last word
    return true;
  }
}

bool StderrWatch::finish(int signals) {
  if (carrier_.socket) is_whole_ = take_account(signals);
  if (file_) read_file();
  heard_.finish();
  carrier_.socket.reset();
  file_.reset();
  return is_whole_;
}

void StderrWatch::read_file() {
  const off_t end = status_of(file_.get()).st_size;
  std::array<char, 65536> chunk;
  off_t at = std::max(std::min(before_, end), end - off_t{longest_look});
  while (at < end) {
    const ssize_t size = ::pread(file_.get(), chunk.data(), chunk.size(), at);
    if (size <= 0) return;
    heard_.feed({chunk.data(), static_cast<std::size_t>(size)});
    at += size;
    is_mid_line_ = chunk[static_cast<std::size_t>(size) - 1] != '\n';
  }
}

}  // namespace sluice::launcher
