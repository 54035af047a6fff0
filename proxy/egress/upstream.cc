#include "proxy/egress/upstream.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <optional>

#include "proxy/egress/way_out.h"
#include "proxy/wire/response_head.h"

namespace sluice::proxy {
namespace {

constexpr wire::HeadLimits answer_limits{.bytes = std::size_t{16} * 1024, .fields = 128};
constexpr int most_interim_answers = 8;

TunnelAnswer no_tunnel(std::string why) { return {.why = std::move(why)}; }

// Reads response heads to the byte.
class HeadReader {
 public:
  explicit HeadReader(int socket) noexcept : socket_(socket) {}

  // Takes what has come, as far as it belongs to the head. Nothing: there is more to come.
  std::optional<TunnelAnswer> take();

 private:
  std::optional<TunnelAnswer> judge(const wire::ResponseHead& head);

  const int socket_;
  std::string head_;
  std::size_t scanned_ = 0;
  int interim_ = 0;
};

std::optional<TunnelAnswer> HeadReader::take() {
  std::array<char, 2048> some;
  const ssize_t size = ::recv(socket_, some.data(), some.size(), MSG_PEEK | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (size <= 0) return no_tunnel("the upstream proxy closed the connection without an answer");
  const std::size_t known = head_.size();
  head_.append(some.data(), static_cast<std::size_t>(size));
  const auto parsed = wire::parse_response_head(head_, answer_limits, scanned_);
  if (!parsed) return no_tunnel("the upstream proxy did not answer in HTTP");
  const std::size_t of_head = (*parsed ? (*parsed)->size : head_.size()) - known;
  if (::recv(socket_, some.data(), of_head, MSG_DONTWAIT) != static_cast<ssize_t>(of_head)) {
    return no_tunnel("the upstream proxy's answer could not be read");
  }
  return *parsed ? judge(**parsed) : std::nullopt;
}

std::optional<TunnelAnswer> HeadReader::judge(const wire::ResponseHead& head) {
  const bool is_interim = head.status < 200 && head.status != 101;
  if (!is_interim) return tunnel_answer(head.status);
  if (++interim_ > most_interim_answers) {
    return no_tunnel("the upstream proxy sends interim answers without end");
  }
  head_.clear();
  scanned_ = 0;
  return {};
}

}  // namespace

std::string connect_request(const UpstreamProxy& upstream, std::string_view authority) {
  std::string request = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n", authority);
  if (!upstream.authorization.empty()) {
    request += fmt::format("Proxy-Authorization: {}\r\n", upstream.authorization);
  }
  return request + "\r\n";
}

// RFC 9110 9.3.6: any 2xx, and what it says of a length means nothing.
TunnelAnswer tunnel_answer(int status) {
  if (status >= 200 && status < 300) return {.stands = true};
  if (status == 407) {
    return {.is_final = true, .why = "the upstream proxy refused our credentials (407)"};
  }
  return {.reason = status == 504 ? Reason::connect_timeout : Reason::unreachable,
          .why = fmt::format("the upstream proxy answered {}", status)};
}

Task<TunnelAnswer> ask_for_tunnel(Socket& socket, std::string request) {
  const auto [unsent, written] = co_await asio::async_write(socket, asio::buffer(request), Token());
  if (unsent) co_return no_tunnel("the upstream proxy closed the connection");
  HeadReader reader(socket.native_handle());
  for (;;) {
    const auto [error] = co_await socket.async_wait(Socket::wait_read);
    // Once it is closed, its number may be another connection's.
    if (error || !socket.is_open()) {
      co_return no_tunnel("the connection to the upstream proxy broke");
    }
    auto answer = reader.take();
    if (answer) co_return std::move(*answer);
  }
}

}  // namespace sluice::proxy
