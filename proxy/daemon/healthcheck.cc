#include "proxy/daemon/healthcheck.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>

#include "base/text.h"
#include "proxy/daemon/unix_socket.h"

namespace sluice::proxy {
namespace {

constexpr std::chrono::seconds patience{5};
constexpr std::string_view question =
    "GET /readyz HTTP/1.1\r\nHost: sluiced\r\nConnection: close\r\n\r\n";
constexpr std::string_view ready = "HTTP/1.1 200 ";

}  // namespace

Result<void> ask_whether_ready(const std::string& admin_socket) {
  const auto connection = connect_unix(admin_socket, SOCK_STREAM, patience);
  if (!connection) return Failure(connection.error());
  if (::send(connection->get(), question.data(), question.size(), MSG_NOSIGNAL) < 0)
    return fail_errno(Errc::unavailable, fmt::format("cannot ask '{}'", admin_socket));
  std::string answer;
  std::array<char, 512> chunk;
  while (answer.size() < ready.size()) {
    const ssize_t size = ::recv(connection->get(), chunk.data(), chunk.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      return fail_errno(Errc::unavailable,
                        fmt::format("the sluiced at '{}' does not answer", admin_socket));
    }
    if (size == 0) break;
    answer.append(chunk.data(), static_cast<std::size_t>(size));
  }
  if (answer.starts_with(ready)) return {};
  return fail(Errc::unavailable, fmt::format("the sluiced at '{}' is not ready: '{}'", admin_socket,
                                             text::printable(answer.substr(0, answer.find('\r')))));
}

}  // namespace sluice::proxy
