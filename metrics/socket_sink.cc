#include "metrics/socket_sink.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/log.h"
#include "metrics/journal_entry.h"

namespace sluice::metrics {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds retry_pause{100};

}  // namespace

SocketSink::SocketSink(std::string path, Form form)
    : path_(std::move(path)), form_(form), deadline_(Clock::duration::max().count()) {}

void SocketSink::stop_waiting_at(Clock::time_point time) noexcept {
  deadline_ = time.time_since_epoch().count();
}

bool SocketSink::is_late() const noexcept {
  return Clock::now().time_since_epoch().count() >= deadline_;
}

std::size_t SocketSink::write(std::string_view lines) {
  std::size_t whole = 0;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n') + 1);
    const Sent sent = socket_ ? send_line(line) : Sent::gone;
    if (sent == Sent::gone) {
      if (connect()) continue;
      if (is_late()) return whole;
      std::this_thread::sleep_for(retry_pause);
      continue;
    }
    if (sent == Sent::whole) ++whole;
    lines.remove_prefix(line.size());
  }
  return whole;
}

bool SocketSink::connect() {
  socket_.reset();
  is_stream_ = form_ == Form::lines;
  int error_number = connect_as(is_stream_ ? SOCK_STREAM : SOCK_DGRAM);
  // connect(2) of a stream to a datagram socket.
  if (is_stream_ && error_number == EPROTOTYPE) {
    is_stream_ = false;
    error_number = connect_as(SOCK_DGRAM);
  }
  tell(error_number);
  return error_number == 0;
}

int SocketSink::connect_as(int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::copy(path_.begin(), path_.end(), address.sun_path);
  Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno;
  }
  socket_ = std::move(socket);
  return 0;
}

SocketSink::Sent SocketSink::send_line(std::string_view line) {
  if (is_stream_) return send_bytes(line);
  const std::string_view without_newline = line.substr(0, line.size() - 1);
  return form_ == Form::lines ? send_bytes(without_newline)
                              : send_bytes(journal_entry(without_newline));
}

SocketSink::Sent SocketSink::send_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EMSGSIZE) {
      return Sent::too_long;
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      const bool is_crowded = errno == ENOBUFS;  // and ready, as poll(2) sees it
      pollfd ready{socket_.get(), POLLOUT, 0};
      const bool late = is_late();
      const int pause = late ? 0 : static_cast<int>(retry_pause.count());
      if (::poll(&ready, is_crowded ? 0 : 1, pause) <= 0 && late) {
        socket_.reset();
        return Sent::gone;
      }
    } else if (errno != EINTR) {
      tell(errno);
      socket_.reset();
      return Sent::gone;
    }
  }
  return Sent::whole;
}

void SocketSink::tell(int error_number) {
  const bool fails = error_number != 0;
  if (fails == failing_) return;
  failing_ = fails;
  if (fails) {
    log::error(
        "cannot write the audit log to '{}': {}; lines wait, and are lost when the queue is "
        "full",
        path_, strerrordesc_np(error_number));
  } else {
    log::warning("the audit log can be written to '{}'", path_);
  }
}

}  // namespace sluice::metrics
