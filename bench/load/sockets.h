// Non-blocking loopback sockets, and payload that costs the load's own side next to nothing.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::bench {

// A connect(2) that has begun. Its source is one of 64 addresses of 127.2.0.0/24 in turn, so that
// connections in TIME_WAIT do not use up the ports of one. No socket: errno says why.
Fd begin_connect(const sockaddr_in& to);

// Listens on every address of loopback, and on no other device.
Result<Fd> listen_on_loopback(std::uint16_t port);

// Sets the soft limit of descriptors to the hard one.
void raise_descriptor_limit() noexcept;

// Sends all of it or says false: what the load sends at once always fits the socket's buffer.
bool send_all(int fd, std::string_view bytes) noexcept;

// Bulk payload: its byte at position p depends on p alone. Sent by sendfile(2) from memory.
// Received bytes are thrown away by the kernel (MSG_TRUNC, tcp(7)), but for one read in 256, whose
// bytes are copied and compared.
class Payload {
 public:
  static Result<Payload> make();

  // What became of one call: bytes moved, 0 when the socket is not ready, nothing when the stream
  // is broken, ended or wrong.
  using Moved = std::optional<std::uint64_t>;
  // Sends from position `at` of the stream, at most `left` bytes.
  Moved send(int fd, std::uint64_t at, std::uint64_t left) const noexcept;
  // Receives what must be position `at` of the stream.
  Moved receive(int fd, std::uint64_t at, std::uint64_t left) noexcept;

 private:
  Payload(Fd file, const char* bytes) noexcept : file_(std::move(file)), bytes_(bytes) {}
  bool same(std::string_view received, std::uint64_t at) const noexcept;

  Fd file_;
  const char* bytes_;  // a mapping of the file that lives as long as the process
  std::uint64_t reads_ = 0;
};

}  // namespace sluice::bench
