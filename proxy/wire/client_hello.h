// Reads the name a TLS client asks for, however its ClientHello is cut up (RFC 8446 4.1.2, RFC 6066
// 3).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::proxy::wire {

struct ClientHello {
  std::optional<std::string> server_name;  // as sent, 1-253 bytes of anything: for Host::parse
  bool ech_offered = false;  // encrypted_client_hello, real or GREASE: they look alike
};

class ClientHelloReader {
 public:
  // Of the handshake message behind its 4-byte header, and of records it may be spread over.
  static constexpr std::size_t size_limit = 65536;
  static constexpr std::size_t record_limit = 256;

  enum class Status : std::uint8_t {
    need_more,
    done,     // hello() is valid
    not_tls,  // the first bytes are no TLS handshake record
    bad,      // TLS, but broken or out of bounds: why() says it
  };

  // Takes the bytes that arrived since the last call; linear time in all of them together. The
  // answer is final unless need_more. What follows the ClientHello's last record is not looked at.
  Status feed(std::span<const std::uint8_t> new_bytes);

  const ClientHello& hello() const noexcept { return hello_; }
  // For not_tls and bad: one sentence, lower case, no trailing dot, without untrusted bytes.
  std::string_view why() const noexcept { return why_; }

 private:
  Status fail(Status status, std::string_view why);
  Status take_header(std::uint8_t byte);
  Status begin_record();
  std::size_t take_fragment(std::span<const std::uint8_t> bytes);
  Status check_message();

  Status status_ = Status::need_more;
  std::string_view why_;
  std::array<std::uint8_t, 5> header_{};
  std::size_t header_size_ = 0;
  std::size_t record_left_ = 0;
  std::size_t records_ = 0;
  std::vector<std::uint8_t> message_;  // handshake header and body so far
  ClientHello hello_;
};

}  // namespace sluice::proxy::wire
