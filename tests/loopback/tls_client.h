// A TLS client on a thread of its own, which a test drives call by call.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "tests/loopback/certificates.h"
#include "tests/loopback/patience.h"

namespace sluice::proxy {

// Its socket does not block, and every wait has a bound.
class TlsClient {
 public:
  explicit TlsClient(std::uint16_t port, const Identity* identity = nullptr)
      : context_(::SSL_CTX_new(::TLS_client_method()), ::SSL_CTX_free),
        fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    if (identity != nullptr) {
      ::SSL_CTX_use_certificate(context_.get(), identity->certificate.get());
      ::SSL_CTX_use_PrivateKey(context_.get(), identity->key.get());
    }
    ssl_.reset(::SSL_new(context_.get()));
    const int on = 1;
    ::ioctl(fd_.get(), FIONBIO, &on);
    ::SSL_set_fd(ssl_.get(), fd_.get());
  }

  SSL* ssl() { return ssl_.get(); }
  int fd() const { return fd_.get(); }

  // Repeats `call` until it is done or fails: its SSL_get_error().
  template <class Call>
  int drive(Call call) {
    for (;;) {
      ::ERR_clear_error();
      const int result = call(ssl_.get());
      if (result > 0) return SSL_ERROR_NONE;
      const int error = ::SSL_get_error(ssl_.get(), result);
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return error;
      if (!wait(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)) return SSL_ERROR_SYSCALL;
    }
  }
  bool shake_hands() { return drive(::SSL_connect) == SSL_ERROR_NONE; }
  bool say(std::string_view bytes) {
    return drive([&](SSL* ssl) {
             return ::SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size()));
           }) == SSL_ERROR_NONE;
  }
  // Reads to the end, whose close_notify is SSL_ERROR_ZERO_RETURN, or until it has `enough` bytes.
  int hear(std::string& heard, std::size_t enough = SIZE_MAX) {
    for (std::array<char, 4096> chunk; heard.size() < enough;) {
      int size = 0;
      const int error =
          drive([&](SSL* ssl) { return size = ::SSL_read(ssl, chunk.data(), chunk.size()); });
      if (error != SSL_ERROR_NONE) return error;
      heard.append(chunk.data(), static_cast<std::size_t>(size));
    }
    return SSL_ERROR_NONE;
  }
  void say_end() { ::SSL_shutdown(ssl_.get()); }
  void reset_connection() {
    const linger now{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.reset();
  }
  void close() { fd_.reset(); }
  bool wait(short events) {
    pollfd what{fd_.get(), events, 0};
    return ::poll(&what, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) == 1;
  }
  // What a plain read gives: 0, or -1 with errno.
  ssize_t read_plain() {
    char byte = 0;
    return wait(POLLIN) ? ::recv(fd_.get(), &byte, 1, 0) : 1;
  }

 private:
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  Fd fd_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, ::SSL_free};
};

}  // namespace sluice::proxy
