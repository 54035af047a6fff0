#include "bench/load/visit.h"

#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "bench/load/sockets.h"

namespace sluice::bench {

void Visit::begin(const Script& script, const sockaddr_in& to, Clock::time_point due) {
  script_ = &script;
  at_ = 0;
  to_ = to;
  due_ = due;
  status_ = 0;
  in_.clear();
  kept_ = is_open();
  if (kept_) {
    say();
  } else {
    connect();
  }
}

void Visit::connect() {
  connected_ = false;
  kept_ = false;
  fd_ = begin_connect(to_);
  if (!fd_) return end(fmt::format("cannot connect: {}", std::strerror(errno)));
  loop_.watch(fd_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this);
}

void Visit::ready(std::uint32_t events) {
  const bool hearable = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (script_ == nullptr) {
    if (hearable) close();  // the other side closed, or speaks unasked
    return;
  }
  if (!connected_) {
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return end(fmt::format("cannot connect: {}", std::strerror(error)));
    if ((events & EPOLLOUT) == 0) return;
    connected_ = true;
    say();
  }
  if (script_ != nullptr && hearable) hear(events);
}

void Visit::say() {
  if (!send_all(fd_.get(), (*script_)[at_].out)) broken("cannot send");
}

void Visit::hear(std::uint32_t events) {
  static std::array<char, std::size_t{64} * 1024> buffer;
  while (script_ != nullptr) {
    const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0 && errno != ECONNRESET) return broken(std::strerror(errno));
    if (size > 0) in_.append(buffer.data(), static_cast<std::size_t>(size));
    // A reset ends a connection too: where an end is expected, either will do.
    consider(size > 0 ? Ended::no : Ended::yes);
    if (size <= 0 || !is_open()) return;
    const bool drained = static_cast<std::size_t>(size) < buffer.size();
    if (drained && (events & (EPOLLRDHUP | EPOLLHUP)) == 0) return;
  }
}

void Visit::consider(Ended ended) {
  const Exchange& exchange = (*script_)[at_];
  const Judged judged = judge(exchange.expect, in_, ended);
  if (judged.status != 0) status_ = judged.status;
  if (judged.progress == Progress::wrong) {
    return broken(ended == Ended::yes ? "ended too early" : "answered wrongly");
  }
  if (judged.progress == Progress::more) return;
  in_.clear();
  if (judged.closes || ended == Ended::yes) close();
  if (++at_ == script_->size()) return end({});
  if (!is_open()) return end("closed between two exchanges");
  say();
}

void Visit::broken(const std::string& why) {
  close();
  // A request on a kept connection that gets no byte back was not read (RFC 9112 9.3.1).
  if (kept_ && at_ == 0 && in_.empty()) {
    ++reconnects_;
    return connect();
  }
  end(fmt::format("{} in exchange {}: '{}'", why, at_,
                  text::printable(std::string_view(in_).substr(0, 60))));
}

void Visit::end(const std::string& wrong) {
  script_ = nullptr;
  if (!wrong.empty()) close();
  visitor_.ended(*this, wrong);
}

}  // namespace sluice::bench
