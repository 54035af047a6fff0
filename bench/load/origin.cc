// The origin: HTTP, echo, source or sink, as the first byte of a connection asks.
#include <fmt/core.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <unordered_map>

#include "bench/load/loop.h"
#include "bench/load/modes.h"
#include "bench/load/sockets.h"
#include "bench/load/wire.h"

namespace sluice::bench {
namespace {

// One accepted connection.
class Guest : public Watcher {
 public:
  struct House {
    const Loop& loop;
    Payload& payload;
    const std::string& answer;
    std::unordered_map<int, Guest>& guests;
  };
  Guest(const House& house, Fd fd) : house_(house), fd_(std::move(fd)) {}

  void ready(std::uint32_t) override {
    if (duty_ == Duty::source) return pour();
    if (duty_ == Duty::sink) return drain();
    hear();
  }

 private:
  enum class Duty : std::uint8_t { unknown, http, echo, primed, source, sink };

  void leave() { house_.guests.erase(fd_.get()); }
  void hear();
  bool understand();
  bool skip_record();
  bool obey();
  bool answer_requests();
  void pour();
  void drain();

  const House& house_;
  Fd fd_;
  Duty duty_ = Duty::unknown;
  std::string in_;
  std::uint64_t at_ = 0;
  std::uint64_t left_ = 0;
};

void Guest::hear() {
  static std::array<char, std::size_t{64} * 1024> buffer;
  const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) return leave();
  const std::string_view heard(buffer.data(), static_cast<std::size_t>(size));
  if (duty_ == Duty::echo) {
    if (!send_all(fd_.get(), heard)) leave();
    return;
  }
  if (duty_ == Duty::primed) {
    if (heard != std::string_view(&source_go, 1)) return leave();
    duty_ = Duty::source;
    return house_.loop.change(fd_.get(), EPOLLOUT, *this);
  }
  in_.append(heard);
  if (!understand()) leave();
}

// False: broken, or to be closed.
bool Guest::understand() {
  if (duty_ == Duty::unknown && in_.front() == tls_record && !skip_record()) return true;
  if (in_.empty()) return true;
  if (duty_ == Duty::unknown) {
    if (in_.front() == order_source || in_.front() == order_sink) return obey();
    duty_ = in_.front() == 'G' ? Duty::http : Duty::echo;
  }
  if (duty_ == Duty::http) return answer_requests();
  const bool sent = send_all(fd_.get(), in_);
  in_.clear();
  return sent;
}

// False: it is not all there.
bool Guest::skip_record() {
  constexpr std::size_t header = 5;
  if (in_.size() < header) return false;
  const std::size_t size =
      header + (static_cast<unsigned char>(in_[3]) << 8U) + static_cast<unsigned char>(in_[4]);
  if (in_.size() < size) return false;
  in_.erase(0, size);
  return true;
}

bool Guest::obey() {
  if (in_.size() < order_size) return true;
  left_ = order_length(in_);
  if (in_.size() > order_size) return false;  // nothing may follow before the answer
  duty_ = in_.front() == order_sink ? Duty::sink : Duty::primed;
  return send_all(fd_.get(), std::string_view(in_).substr(0, 1));
}

bool Guest::answer_requests() {
  for (std::size_t end = in_.find("\r\n\r\n"); end != std::string::npos;
       end = in_.find("\r\n\r\n")) {
    std::string head = in_.substr(0, end + 2);
    in_.erase(0, end + 4);
    std::transform(head.begin(), head.end(), head.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const bool keeps = head.find(" http/1.1\r\n") != std::string::npos
                           ? head.find("\r\nconnection: close\r\n") == std::string::npos
                           : head.find("\r\nconnection: keep-alive\r\n") != std::string::npos;
    if (!send_all(fd_.get(), house_.answer) || !keeps) return false;
  }
  return true;
}

void Guest::pour() {
  const Payload::Moved moved = house_.payload.send(fd_.get(), at_, left_);
  if (!moved) return leave();
  at_ += *moved;
  left_ -= *moved;
  if (left_ > 0) return;
  duty_ = Duty::echo;
  house_.loop.change(fd_.get(), EPOLLIN, *this);
}

void Guest::drain() {
  const Payload::Moved moved = house_.payload.receive(fd_.get(), at_, left_);
  if (!moved) return leave();
  at_ += *moved;
  left_ -= *moved;
  if (left_ > 0) return;
  duty_ = Duty::echo;
  if (!send_all(fd_.get(), std::string_view(&sink_done, 1))) leave();
}

class Door : public Watcher {
 public:
  Door(const Guest::House& house, Fd fd) : house_(house), fd_(std::move(fd)) {
    house_.loop.watch(fd_.get(), EPOLLIN, *this);
  }

  void ready(std::uint32_t) override {
    for (int turn = 0; turn < 64; ++turn) {
      Fd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      const int on = 1;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      const int number = fd.get();
      const auto [guest, fresh] = house_.guests.try_emplace(number, house_, std::move(fd));
      if (fresh) house_.loop.watch(number, EPOLLIN, guest->second);
    }
  }

 private:
  const Guest::House& house_;
  Fd fd_;
};

}  // namespace

Result<int> run_origin(const Options& options) {
  auto payload = Payload::make();
  if (!payload) return Failure(payload.error());
  auto listener = listen_on_loopback(options.origin_port);
  if (!listener) return Failure(listener.error());
  const Loop loop;
  const std::string answer = fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
      "Content-Length: {}\r\n\r\n{}",
      options.body, std::string(options.body, body_byte));
  std::unordered_map<int, Guest> guests;
  const Guest::House house{loop, *payload, answer, guests};
  Door door(house, std::move(*listener));
  const Clock::time_point end = Clock::now() + seconds_of(options.seconds);
  while (Clock::now() < end) loop.run_once(end);
  return 0;
}

}  // namespace sluice::bench
