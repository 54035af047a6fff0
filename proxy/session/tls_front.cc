#include "proxy/session/tls_front.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/fd.h"
#include "base/text.h"
#include "proxy/session/drain.h"
#include "proxy/session/tls_files.h"
#include "proxy/session/tls_pumps.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// Of the certificates a client sends, together.
constexpr long largest_client_chain = 32L * 1024;
// What the kernel holds between a client's pump and the session, a direction.
constexpr int between = 64 * 1024;
// After a handshake that failed: so long and so much for the alert to arrive.
constexpr auto drained_time = 1s;
constexpr std::size_t drained_bytes = std::size_t{64} * 1024;

// RFC 7301 3.2: no_application_protocol for a client that offers only others.
int choose_http1(SSL*, const unsigned char** chosen, unsigned char* size,
                 const unsigned char* offered, unsigned offered_size, void*) {
  constexpr std::string_view http1 = "http/1.1";
  for (unsigned at = 0; at < offered_size; at += 1U + offered[at]) {
    if (offered[at] == http1.size() && offered_size - at > http1.size() &&
        std::memcmp(offered + at + 1, http1.data(), http1.size()) == 0) {
      *chosen = offered + at + 1;
      *size = static_cast<unsigned char>(http1.size());
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool set_rules(SSL_CTX* context) {
  ::SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  ::SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_max_cert_list(context, largest_client_chain);
  ::SSL_CTX_set_alpn_select_cb(context, &choose_http1, nullptr);
  return ::SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         ::SSL_CTX_set_num_tickets(context, 0) == 1 &&
         ::SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
}

// Why OpenSSL gave up, after a call that failed.
std::string reason_of(const TlsStream& client) {
  const long verified = ::SSL_get_verify_result(client.state());
  std::string reason = take_tls_error();
  if (verified != X509_V_OK) {
    reason = fmt::format("{}: {}", reason, ::X509_verify_cert_error_string(verified));
  }
  return text::printable(reason);
}

// "" once the handshake is done.
Task<std::string> shake_hands(Worker& worker, TlsStream& client) {
  Deadline deadline(worker.wheel, client.socket());
  deadline.arm(worker.shared.timeouts.headers);
  for (;;) {
    int result = 0;
    const TlsStep step = client.step([](SSL* ssl) { return ::SSL_accept(ssl); }, result);
    if (step == TlsStep::done) co_return std::string();
    if (step == TlsStep::broken || step == TlsStep::closed) {
      std::string why = reason_of(client);
      const DrainLimits limits{.bytes = drained_bytes, .time = drained_time};
      co_await drain_and_close(client.socket(), deadline, limits);
      co_return why;
    }
    const bool ready = co_await client.wait_for(step);
    if (!ready) co_return std::string("the TLS handshake did not end in time");
  }
}

std::string agent_of(const TlsStream& client) {
  const X509* const certificate = ::SSL_get0_peer_certificate(client.state());
  return certificate == nullptr ? std::string() : name_in(*certificate);
}

struct Pair {
  Socket inside;
  Socket outside;
};

ErrorCode assign(Socket& socket, Fd& fd) {
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &between, sizeof between);  // else larger
  ErrorCode error;
  // The family only matters to calls that make or name an address: these two never do.
  socket.assign(Tcp::v4(), fd.get(), error);
  if (!error) (void)fd.release();
  return error;
}

std::optional<Pair> make_pair(Worker& worker) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return std::nullopt;
  }
  Fd first(ends[0]);
  Fd second(ends[1]);
  Pair pair{Socket(worker.io), Socket(worker.io)};
  if (assign(pair.inside, first) || assign(pair.outside, second)) return std::nullopt;
  return pair;
}

}  // namespace

Result<std::shared_ptr<const TlsFront>> TlsFront::create(const Config::Listener::Tls& files) {
  Context context(::SSL_CTX_new(::TLS_server_method()), ::SSL_CTX_free);
  if (!context || !set_rules(context.get())) {
    return fail(Errc::unavailable,
                fmt::format("TLS cannot be set up on this machine: {}", take_tls_error()),
                "check the configuration of OpenSSL (openssl.cnf)");
  }
  if (auto used = use_certificate(*context, files.cert, files.key); !used) {
    return Failure(used.error());
  }
  if (!files.client_ca.empty()) {
    if (auto required = require_client_certificate(*context, files.client_ca); !required) {
      return Failure(required.error());
    }
  }
  return std::shared_ptr<const TlsFront>(new TlsFront(std::move(context)));
}

Task<tl::expected<TlsFront::Accepted, std::string>> TlsFront::accept(Worker& worker,
                                                                     Socket client) const {
  using Failed = tl::unexpected<std::string>;
  auto stream = std::make_unique<TlsStream>(context_.get(), std::move(client));
  if (!stream->is_ready()) co_return Failed("no memory for another TLS connection");
  std::string why = co_await shake_hands(worker, *stream);
  if (!why.empty()) co_return Failed(std::move(why));
  auto pair = make_pair(worker);
  if (!pair) co_return Failed("no descriptors for another TLS connection");
  auto link = std::make_shared<FrontLink>();
  std::string agent = agent_of(*stream);
  auto pumps = carry_tls(worker, std::move(stream), std::move(pair->outside), link);
  co_return Accepted{std::move(agent), std::move(pair->inside), std::move(link), std::move(pumps)};
}

}  // namespace sluice::proxy
