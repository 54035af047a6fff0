// TLS between a client and an explicit listener: ends it, and gives the session plain bytes.
#pragma once

#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "base/error.h"
#include "proxy/daemon/config.h"
#include "proxy/net.h"
#include "proxy/session/front_link.h"

struct ssl_ctx_st;

namespace sluice::proxy {

class Worker;

// One listener's certificate and rules; unchanged once made, for all threads. TLS 1.2 and 1.3, the
// server's preferences, no renegotiation, compression, tickets or resumption; of ALPN only
// "http/1.1", which a client may leave out.
class TlsFront {
 public:
  // Reads the files. An error names the file and why: unreadable, not PEM, a key that is encrypted
  // or does not fit the certificate, a certificate that is expired or not yet valid.
  static Result<std::shared_ptr<const TlsFront>> create(const Config::Listener::Tls& files);

  // A client whose handshake is done.
  struct Accepted {
    // With client_ca: the certificate's first DNS name, or else its common name; "" where it has
    // neither. Any text: not yet an agent's name.
    std::string agent;
    Socket inside;  // what the session serves: a Unix stream socket
    std::shared_ptr<FrontLink> link;
    // Carries the bytes; to be spawned on the worker's io_context at once. Ends when the session
    // has closed `inside` and the client has read the rest, or the client broke off, or it did not
    // read for timeouts.idle. Half-closes are passed on both ways. Holds at most 16 KiB a
    // direction, none while idle, besides what the kernel's socket buffers hold.
    Task<void> pumps;
  };
  // Shakes hands within timeouts.headers. Else: why not, for the log (printable), after the client
  // was told by an alert and its connection closed.
  Task<tl::expected<Accepted, std::string>> accept(Worker& worker, Socket client) const;

 private:
  using Context = std::unique_ptr<ssl_ctx_st, void (*)(ssl_ctx_st*)>;
  explicit TlsFront(Context context) noexcept : context_(std::move(context)) {}

  Context context_;
};

}  // namespace sluice::proxy
