#include "proxy/daemon/admin.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <memory>

#include "proxy/daemon/spawn.h"
#include "proxy/wire/request_head.h"

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

using namespace std::chrono_literals;
using Descriptor = Token::as_default_on_t<asio::posix::basic_stream_descriptor<Executor>>;

constexpr auto request_deadline = 5s;
constexpr int most_at_once = 64;
constexpr std::string_view metrics_type = "text/plain; version=0.0.4; charset=utf-8";

std::string response_head(std::string_view status, std::string_view type, std::size_t size) {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n"
      "Connection: close\r\n\r\n",
      status, type, size);
}

std::string response(std::string_view status, std::string_view type, std::string_view body,
                     bool with_body) {
  std::string text = response_head(status, type, body.size());
  if (with_body) text += body;
  return text;
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

Task<void> answer_metrics(asio::io_context& io, Descriptor& connection, bool with_body,
                          Scribe& scribe) {
  const Scribe::Page page = co_await scribe.page(io);
  if (!page) co_return;
  const std::string head = response_head("200 OK", metrics_type, page->size());
  std::array<asio::const_buffer, 2> parts{asio::buffer(head), asio::buffer(*page)};
  if (!with_body) parts[1] = asio::const_buffer();
  co_await asio::async_write(connection, parts, Token());
}

Task<void> converse(asio::io_context& io, Descriptor& connection, const AdminPages& pages) {
  std::string bytes;
  std::array<char, 2048> chunk;
  std::size_t scanned = 0;
  for (;;) {
    const auto head = wire::parse_request_head(bytes, {.bytes = 8192, .fields = 64}, scanned);
    if (!head) {
      const std::string reply =
          response("400 Bad Request", "text/plain", head.error().why + "\n", true);
      co_await asio::async_write(connection, asio::buffer(reply), Token());
      co_return;
    }
    if (*head) {
      const std::string_view method = (*head)->method;
      const bool is_read = method == "GET" || method == "HEAD";
      if (pages.scribe != nullptr && is_read && path_of((*head)->target) == "/metrics") {
        co_await answer_metrics(io, connection, method == "GET", *pages.scribe);
        co_return;
      }
      const std::string reply = admin_response((*head)->method, (*head)->target, pages);
      co_await asio::async_write(connection, asio::buffer(reply), Token());
      co_return;
    }
    const auto [error, size] = co_await connection.async_read_some(asio::buffer(chunk));
    if (error) co_return;
    bytes.append(chunk.data(), size);
  }
}

// One of most_at_once, also when what it is for ends by an exception.
class Seat {
 public:
  explicit Seat(std::shared_ptr<int> taken) : taken_(std::move(taken)) { ++*taken_; }
  ~Seat() { --*taken_; }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

 private:
  std::shared_ptr<int> taken_;
};

Task<void> serve_one(asio::io_context& io, std::shared_ptr<const AdminPages> pages, Fd socket,
                     [[maybe_unused]] std::unique_ptr<const Seat> seat) {
  Descriptor connection(io);
  ErrorCode error;
  connection.assign(socket.get(), error);
  if (!error) {
    (void)socket.release();
    Timer timer(io, request_deadline);
    co_await (converse(io, connection, *pages) || timer.async_wait(AsTask()));
  }
}

}  // namespace

std::string admin_response(std::string_view method, std::string_view target,
                           const AdminPages& pages) {
  const bool with_body = method != "HEAD";
  if (method != "GET" && method != "HEAD") {
    return response("405 Method Not Allowed", "text/plain", "only GET and HEAD are answered here\n",
                    true);
  }
  const std::string_view path = path_of(target);
  if (path == "/metrics")
    return response("200 OK", metrics_type, pages.registry.exposition(), with_body);
  if (path == "/healthz" || path == "/readyz")
    return response("200 OK", "text/plain", "ok\n", with_body);
  if (path == "/api/v1/policy" && pages.policy)
    return response("200 OK", "application/json", pages.policy(), with_body);
  const std::string_view known = pages.policy
                                     ? "there are /metrics, /healthz, /readyz and /api/v1/policy\n"
                                     : "there are /metrics, /healthz and /readyz\n";
  return response("404 Not Found", "text/plain", known, with_body);
}

Task<void> serve_admin(asio::io_context& io, AdminPages its_pages, Entrance& entrance) {
  const auto pages = std::make_shared<const AdminPages>(std::move(its_pages));
  const auto taken = std::make_shared<int>(0);
  Entrance::Guests guests;
  guests.have_room = [taken] { return *taken < most_at_once; };
  guests.take = [&io, pages, taken](Fd guest) {
    spawn(io, serve_one(io, pages, std::move(guest), std::make_unique<const Seat>(taken)));
  };
  co_await entrance.serve(std::move(guests));
}

Result<Fd> listen_admin(const IpAddress& address, std::uint16_t port) {
  const TcpEndpoint endpoint(to_asio(address), port);
  Fd listener(
      ::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail_errno(Errc::unavailable, "socket");
  const int one = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(listener.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot listen on {}:{}", address.to_string(), port),
                      "another sluiced may run; change admin.address");
  }
  if (::listen(listener.get(), SOMAXCONN) != 0) return fail_errno(Errc::unavailable, "listen");
  return listener;
}

}  // namespace sluice::proxy
