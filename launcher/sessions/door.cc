#include "launcher/sessions/door.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice::launcher {
namespace {

constexpr std::uint64_t listener_number = 0;
constexpr std::size_t most_visitors = 16;
constexpr std::size_t longest_question = 64;

Result<void> watch(int events, int fd, std::uint64_t number) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = number;
  if (::epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail_errno(Errc::unavailable, "epoll_ctl");
  }
  return {};
}

bool may_ask(int connection) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == ::geteuid() || peer.uid == 0);
}

}  // namespace

Result<Door> Door::open(int listener) {
  Fd events(::epoll_create1(EPOLL_CLOEXEC));
  if (!events) return fail_errno(Errc::unavailable, "epoll_create1");
  if (auto done = watch(events.get(), listener, listener_number); !done) {
    return Failure(done.error());
  }
  return Door(std::move(events), listener);
}

void Door::accept_all() {
  for (;;) {
    Fd connection(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection) return;
    if (!may_ask(connection.get())) continue;
    if (visitors_.size() == most_visitors) visitors_.erase(visitors_.begin());
    const std::uint64_t number = next_++;
    if (!watch(events_.get(), connection.get(), number)) continue;
    visitors_[number].connection = std::move(connection);
  }
}

std::optional<Stop> Door::hear(std::uint64_t number, const RunStatus& status) {
  const auto found = visitors_.find(number);
  if (found == visitors_.end()) return std::nullopt;
  Visitor& visitor = found->second;
  std::array<char, longest_question> chunk;
  const ssize_t size = ::read(visitor.connection.get(), chunk.data(), chunk.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (size > 0) visitor.said.append(chunk.data(), static_cast<std::size_t>(size));
  if (size <= 0 || visitor.is_waiting || visitor.said.size() > longest_question) {
    visitors_.erase(found);
    return std::nullopt;
  }
  if (!visitor.said.ends_with('\n')) return std::nullopt;
  visitor.is_waiting = visitor.said == ask_for_stop || visitor.said == ask_for_stop_now;
  if (visitor.is_waiting) return visitor.said == ask_for_stop ? Stop::gently : Stop::now;
  if (visitor.said == ask_for_status) {
    const std::string answer = encode(status);
    (void)!::send(visitor.connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  }
  visitors_.erase(found);
  return std::nullopt;
}

std::optional<Stop> Door::serve(const RunStatus& status) {
  std::optional<Stop> asked;
  std::array<epoll_event, most_visitors + 1> events;
  const int count = ::epoll_wait(events_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t number = events[static_cast<std::size_t>(i)].data.u64;
    if (number == listener_number) {
      accept_all();
    } else if (const auto stop = hear(number, status); stop && asked != Stop::now) {
      asked = stop;
    }
  }
  return asked;
}

}  // namespace sluice::launcher
