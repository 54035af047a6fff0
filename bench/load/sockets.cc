#include "bench/load/sockets.h"

#include <fmt/core.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/io.h"

namespace sluice::bench {
namespace {

constexpr std::uint32_t first_source = 0x7f020001;
constexpr unsigned sources = 64;
constexpr int backlog = 4096;

constexpr std::uint64_t period = std::uint64_t{1} << 20;  // bytes after which the payload repeats
constexpr std::uint64_t receive_most = std::uint64_t{4} << 20;
constexpr unsigned compare_one_in = 256;

void set(int fd, int level, int name) noexcept {
  const int on = 1;
  ::setsockopt(fd, level, name, &on, sizeof(on));
}

const sockaddr* as_sockaddr(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

std::string payload_bytes() {
  std::string bytes(period, '\0');
  for (std::uint64_t at = 0; at < period; at += sizeof(at)) {
    // Odd multiplier (splitmix64's): no two words are the same.
    const std::uint64_t word = (at + 1) * 0x9e3779b97f4a7c15U;
    std::memcpy(&bytes[at], &word, sizeof(word));
  }
  return bytes;
}

}  // namespace

Fd begin_connect(const sockaddr_in& to) {
  static unsigned turn = 0;
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fd;
  set(fd.get(), IPPROTO_TCP, TCP_NODELAY);
  set(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(first_source + turn++ % sources);
  if (::bind(fd.get(), as_sockaddr(from), sizeof(from)) != 0) return Fd();
  if (::connect(fd.get(), as_sockaddr(to), sizeof(to)) != 0 && errno != EINPROGRESS) return Fd();
  return fd;
}

Result<Fd> listen_on_loopback(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(Errc::unavailable, "cannot make a socket");
  set(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  // Before bind(2): never is the port open to another device.
  constexpr std::string_view device = "lo";
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, device.data(), device.size()) != 0) {
    return fail_errno(Errc::not_permitted, "cannot bind a socket to lo",
                      "the kernel must be 5.7 or newer, or be root");
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  if (::bind(fd.get(), as_sockaddr(address), sizeof(address)) != 0 ||
      ::listen(fd.get(), backlog) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot listen on port {}", port));
  }
  return fd;
}

void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

bool send_all(int fd, std::string_view bytes) noexcept {
  return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

Result<Payload> Payload::make() {
  auto file = sealed_memfd("payload", payload_bytes());
  if (!file) return Failure(file.error());
  void* bytes = ::mmap(nullptr, period, PROT_READ, MAP_SHARED, file->get(), 0);
  if (bytes == MAP_FAILED) return fail_errno(Errc::unavailable, "cannot map the payload");
  return Payload(std::move(*file), static_cast<const char*>(bytes));
}

Payload::Moved Payload::send(int fd, std::uint64_t at, std::uint64_t left) const noexcept {
  auto offset = static_cast<off_t>(at % period);
  const std::uint64_t most = std::min(left, period - at % period);
  const ssize_t sent = ::sendfile(fd, file_.get(), &offset, most);
  if (sent < 0) return errno == EAGAIN ? Moved(0) : std::nullopt;
  return static_cast<std::uint64_t>(sent);
}

Payload::Moved Payload::receive(int fd, std::uint64_t at, std::uint64_t left) noexcept {
  static std::array<char, std::size_t{16} * 1024> buffer;
  const bool compare = ++reads_ % compare_one_in == 0;
  const std::uint64_t most = std::min(left, compare ? buffer.size() : receive_most);
  // With MSG_TRUNC a TCP socket throws the bytes away and writes nothing (tcp(7)).
  const ssize_t size =
      compare ? ::recv(fd, buffer.data(), most, 0) : ::recv(fd, nullptr, most, MSG_TRUNC);
  if (size < 0) return errno == EAGAIN ? Moved(0) : std::nullopt;
  if (size == 0) return std::nullopt;
  const auto received = static_cast<std::uint64_t>(size);
  if (compare && !same({buffer.data(), received}, at)) return std::nullopt;
  return received;
}

bool Payload::same(std::string_view received, std::uint64_t at) const noexcept {
  const std::uint64_t begin = at % period;
  const std::uint64_t first = std::min<std::uint64_t>(received.size(), period - begin);
  return std::memcmp(received.data(), bytes_ + begin, first) == 0 &&
         std::memcmp(received.data() + first, bytes_, received.size() - first) == 0;
}

}  // namespace sluice::bench
