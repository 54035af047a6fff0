#include "proxy/session/tls_pumps.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/write.hpp>

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

constexpr std::size_t room = std::size_t{16} * 1024;  // what one TLS record holds

using Buffer = std::unique_ptr<char[]>;
Buffer new_buffer() { return std::make_unique_for_overwrite<char[]>(room); }

class Pumps {
 public:
  Pumps(Worker& worker, TlsStream& client, Socket& outside, FrontLink& link)
      : worker_(worker),
        client_(client),
        outside_(outside),
        link_(link),
        reader_(worker.wheel, client.socket()) {
    link_.attach([this] { cut(); });
  }
  ~Pumps() { link_.attach(nullptr); }
  Pumps(const Pumps&) = delete;
  Pumps& operator=(const Pumps&) = delete;

  // From the client to the session, until the client's close_notify.
  Task<void> up();
  // From the session to the client, until the session has closed its end: that is the end of all.
  Task<void> down();

 private:
  Task<bool> tell_client(std::string_view bytes);
  Task<bool> say_end();
  Task<void> pass_end();
  void close() noexcept;
  void cut() noexcept;
  void broke() noexcept;

  Worker& worker_;
  TlsStream& client_;
  Socket& outside_;
  FrontLink& link_;
  Deadline reader_;  // of the client, while it has something to read
};

void Pumps::close() noexcept {
  ErrorCode ignored;  // either may be gone already
  client_.socket().close(ignored);
  outside_.close(ignored);
}

// Without close_notify and with a reset, so that nobody takes what came for the whole.
void Pumps::cut() noexcept {
  ErrorCode ignored;
  client_.socket().set_option(asio::socket_base::linger(true, 0), ignored);
  close();
}

// The session hears of it before it could read an end of file.
void Pumps::broke() noexcept {
  if (client_.socket().is_open()) link_.tell_broken();
  cut();
}

Task<void> Pumps::up() {
  Buffer buffer;
  for (;;) {
    if (!buffer) buffer = new_buffer();
    int size = 0;
    const TlsStep step = client_.step(
        [&](SSL* ssl) { return ::SSL_read(ssl, buffer.get(), static_cast<int>(room)); }, size);
    if (step == TlsStep::closed) {
      ErrorCode ignored;  // the session may have ended
      outside_.shutdown(Socket::shutdown_send, ignored);
      co_return;
    }
    if (step == TlsStep::broken) co_return broke();
    if (step != TlsStep::done) {
      buffer.reset();  // an idle connection holds none
      const bool ready = co_await client_.wait_for(step);
      if (!ready) co_return broke();
      continue;
    }
    const std::string_view bytes(buffer.get(), static_cast<std::size_t>(size));
    const auto [error, written] =
        co_await asio::async_write(outside_, asio::buffer(bytes), Token());
    if (error) co_return;  // the session reads no more; down() sees its end
  }
}

// False: the client broke off, or did not read for timeouts.idle.
Task<bool> Pumps::tell_client(std::string_view bytes) {
  while (!bytes.empty()) {
    int size = 0;
    const TlsStep step = client_.step(
        [&](SSL* ssl) { return ::SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size())); },
        size);
    if (step == TlsStep::done) {
      bytes.remove_prefix(static_cast<std::size_t>(size));
      continue;
    }
    reader_.arm(worker_.shared.timeouts.idle);
    const bool ready = co_await client_.wait_for(step);
    reader_.disarm();
    if (!ready) co_return false;
  }
  co_return true;
}

// close_notify, then the end of the TCP stream: half of the connection, while the client may go on.
Task<bool> Pumps::say_end() {
  for (;;) {
    int result = 0;
    const TlsStep step = client_.step([](SSL* ssl) { return ::SSL_shutdown(ssl); }, result);
    if (step == TlsStep::done || result == 0) break;
    if (step != TlsStep::wants_write) co_return false;
    reader_.arm(worker_.shared.timeouts.idle);
    const bool ready = co_await client_.wait_for(step);
    reader_.disarm();
    if (!ready) co_return false;
  }
  ErrorCode error;
  client_.socket().shutdown(Socket::shutdown_send, error);
  co_return !error;
}

// The session has said all, or closed at once: what the client still says is its to read, until it
// has closed.
Task<void> Pumps::pass_end() {
  const bool said = co_await say_end();
  if (!said) co_return broke();
  co_await outside_.async_wait(Socket::wait_error);  // EPOLLHUP: both directions are over
  close();
}

Task<void> Pumps::down() {
  Buffer buffer;
  ErrorCode ignored;
  outside_.non_blocking(true, ignored);  // or read_some() would wait in poll(2)
  for (;;) {
    ErrorCode error;
    if (!buffer) {
      std::tie(error) = co_await outside_.async_wait(Socket::wait_read);
      if (!error) buffer = new_buffer();
    }
    std::size_t size = 0;
    if (!error) size = outside_.read_some(asio::buffer(buffer.get(), room), error);
    if (error == asio::error::would_block) {
      buffer.reset();
      continue;
    }
    if (error == asio::error::eof) co_return co_await pass_end();
    // The session closed before it had read all: TCP would send a reset as well.
    if (error) co_return cut();
    const bool told = co_await tell_client({buffer.get(), size});
    if (!told) co_return broke();
  }
}

}  // namespace

TlsStream::TlsStream(SSL_CTX* context, Socket client)
    : socket_(std::move(client)), ssl_(::SSL_new(context), ::SSL_free) {
  ErrorCode error;
  socket_.non_blocking(true, error);
  ready_ = !error && ssl_ && ::SSL_set_fd(ssl_.get(), socket_.native_handle()) == 1;
  if (ready_) ::SSL_set_accept_state(ssl_.get());
}

TlsStep TlsStream::judge(int result) noexcept {
  if (result > 0) return TlsStep::done;
  switch (::SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return TlsStep::wants_read;
    case SSL_ERROR_WANT_WRITE:
      return TlsStep::wants_write;
    case SSL_ERROR_ZERO_RETURN:
      return TlsStep::closed;
    default:
      return TlsStep::broken;
  }
}

Task<bool> TlsStream::wait_for(TlsStep step) {
  const auto what = step == TlsStep::wants_write ? Socket::wait_write : Socket::wait_read;
  const auto [error] = co_await socket_.async_wait(what);
  co_return !error && socket_.is_open();
}

Task<void> carry_tls(Worker& worker, std::unique_ptr<TlsStream> client, Socket outside,
                     std::shared_ptr<FrontLink> link) {
  Pumps pumps(worker, *client, outside, *link);
  co_await (pumps.up() && pumps.down());
}

}  // namespace sluice::proxy
