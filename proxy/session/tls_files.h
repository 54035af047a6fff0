// Reads a listener's certificate, key and client CA, and says in a sentence what is wrong with
// them.
#pragma once

#include <string>

#include "base/error.h"

struct ssl_ctx_st;
struct x509_st;

namespace sluice::proxy {

// The PEM chain in `cert`, the server's own certificate first, and its PEM key. Refused: unreadable
// or larger than 1 MiB, not PEM, a certificate that is expired or not valid yet, a key that is
// encrypted or another certificate's.
Result<void> use_certificate(ssl_ctx_st& context, const std::string& cert, const std::string& key);

// Clients must show a certificate below one of the PEM certificates in `path`, whose names they are
// told. Refused as above.
Result<void> require_client_certificate(ssl_ctx_st& context, const std::string& path);

// The first DNS name of a certificate (RFC 5280 4.2.1.6), or else its last common name, which is
// the most specific one; "" where there is neither, or a zero byte stands inside.
std::string name_in(const x509_st& certificate);

// What OpenSSL noted last on this thread, as text, and forgets all of it.
std::string take_tls_error();

}  // namespace sluice::proxy
