// One TLS connection once its handshake is done: carries bytes between it and a session.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <string_view>

#include "proxy/net.h"
#include "proxy/session/front_link.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// What a call of OpenSSL on a socket that does not block came to.
enum class TlsStep : std::uint8_t { done, wants_read, wants_write, closed, broken };

// A client's socket and its TLS state. One thread.
class TlsStream {
 public:
  TlsStream(SSL_CTX* context, Socket client);

  // False: out of memory, or the socket is closed.
  bool is_ready() const noexcept { return ready_; }
  Socket& socket() noexcept { return socket_; }
  SSL* state() const noexcept { return ssl_.get(); }

  // `call` is one call on state(); its result is kept in `result`. Never made once the socket is
  // closed: its number may be another's by then.
  template <class Call>
  TlsStep step(Call call, int& result) {
    if (!socket_.is_open()) return TlsStep::broken;
    ::ERR_clear_error();  // SSL_get_error(3): the queue must be empty before
    result = call(ssl_.get());
    return judge(result);
  }
  // Until what `step` wants is there. False: the socket was closed, or its deadline passed.
  Task<bool> wait_for(TlsStep step);

 private:
  TlsStep judge(int result) noexcept;

  Socket socket_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  bool ready_ = false;
};

// Carries bytes between `client` and `outside`, whose other end the session has, until the session
// has closed it and the client has the rest, or either broke off.
Task<void> carry_tls(Worker& worker, std::unique_ptr<TlsStream> client, Socket outside,
                     std::shared_ptr<FrontLink> link);

}  // namespace sluice::proxy
