#include "proxy/session/tls_files.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <vector>

#include "base/io.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t largest_file = std::size_t{1024} * 1024;
constexpr int deepest_chain = 4;  // certificates between a client's own and the CA

struct Free {
  void operator()(BIO* bio) const noexcept { ::BIO_free(bio); }
  void operator()(X509* certificate) const noexcept { ::X509_free(certificate); }
  void operator()(EVP_PKEY* key) const noexcept { ::EVP_PKEY_free(key); }
  void operator()(GENERAL_NAMES* names) const noexcept { ::GENERAL_NAMES_free(names); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;
using Certificates = std::vector<Owned<X509>>;

// "'FILE' WHAT".
Failure bad_file(const std::string& path, std::string_view what, std::string hint) {
  return fail(Errc::bad_config, fmt::format("'{}' {}", path, what), std::move(hint));
}

Owned<BIO> reader_of(std::string_view text) {
  return Owned<BIO>(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string date_of(const ASN1_TIME* time) {
  const Owned<BIO> out(::BIO_new(::BIO_s_mem()));
  char* text = nullptr;
  if (!out || ::ASN1_TIME_print(out.get(), time) != 1) return "a date that cannot be read";
  const long size = ::BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

Result<void> check_dates(const std::string& path, const X509& certificate) {
  const ASN1_TIME* const until = ::X509_get0_notAfter(&certificate);
  if (::X509_cmp_current_time(until) <= 0) {
    return bad_file(path, fmt::format("has a certificate that expired on {}", date_of(until)),
                    "put a new certificate there");
  }
  const ASN1_TIME* const from = ::X509_get0_notBefore(&certificate);
  if (::X509_cmp_current_time(from) > 0) {
    return bad_file(path,
                    fmt::format("has a certificate that is not valid before {}", date_of(from)),
                    "check the clock of this machine, or put another certificate there");
  }
  return {};
}

// All of them, at least one, each of them valid now.
Result<Certificates> read_certificates(const std::string& path) {
  const auto text = read_file(path, largest_file);
  if (!text) return Failure(text.error());
  const Owned<BIO> reader = reader_of(*text);
  Certificates found;
  while (Owned<X509> one{::PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr)}) {
    if (auto valid = check_dates(path, *one); !valid) return Failure(valid.error());
    found.push_back(std::move(one));
  }
  // The end of a file reads as a missing start line.
  const bool at_end = ERR_GET_REASON(::ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string error = take_tls_error();
  if (found.empty() && at_end) {
    return bad_file(path, "has no certificate in PEM format",
                    "it must contain '-----BEGIN CERTIFICATE-----'");
  }
  if (!at_end) {
    return bad_file(path, fmt::format("has a certificate that cannot be read: {}", error),
                    "copy it again from whoever issued it");
  }
  return found;
}

// Notes that a passphrase was asked for, and gives none.
int refuse_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Result<Owned<EVP_PKEY>> read_key(const std::string& path) {
  auto text = read_file(path, largest_file);
  if (!text) return Failure(text.error());
  bool encrypted = false;
  Owned<EVP_PKEY> key(
      ::PEM_read_bio_PrivateKey(reader_of(*text).get(), nullptr, &refuse_passphrase, &encrypted));
  ::OPENSSL_cleanse(text->data(), text->size());
  (void)take_tls_error();  // it says less than what follows
  if (key) return key;
  if (encrypted) {
    return bad_file(path, "has a key that is encrypted",
                    "decrypt it with 'openssl pkey', readable by sluiced's user alone");
  }
  return bad_file(path, "has no private key in PEM format",
                  "it must contain '-----BEGIN PRIVATE KEY-----'");
}

Failure refused_by_tls(const std::string& path, std::string_view what) {
  const std::string error = take_tls_error();
  return bad_file(path, fmt::format("{}: {}", what, error),
                  "use RSA with 2048 bits or more, or an elliptic curve");
}

// "" with a zero byte inside: two programs would read two names.
std::string text_of(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int size = ::ASN1_STRING_to_UTF8(&utf8, string);
  if (size < 0) return {};
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  ::OPENSSL_free(utf8);
  return text.find('\0') == std::string::npos ? text : std::string();
}

}  // namespace

std::string take_tls_error() {
  const char* const text = ::ERR_reason_error_string(::ERR_peek_last_error());
  ::ERR_clear_error();
  return text == nullptr ? "no reason is known" : text;
}

Result<void> use_certificate(ssl_ctx_st& context, const std::string& cert, const std::string& key) {
  const auto chain = read_certificates(cert);
  if (!chain) return Failure(chain.error());
  const auto its_key = read_key(key);
  if (!its_key) return Failure(its_key.error());
  if (::X509_check_private_key(chain->front().get(), its_key->get()) != 1) {
    ::ERR_clear_error();
    return bad_file(key, fmt::format("is not the key of the first certificate in '{}'", cert),
                    "the server's own certificate comes first in a chain");
  }
  if (::SSL_CTX_use_certificate(&context, chain->front().get()) != 1) {
    return refused_by_tls(cert, "has a certificate that TLS cannot use");
  }
  if (::SSL_CTX_use_PrivateKey(&context, its_key->get()) != 1) {
    return refused_by_tls(key, "has a key that TLS cannot use");
  }
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (::SSL_CTX_add1_chain_cert(&context, (*chain)[i].get()) != 1) {
      return refused_by_tls(cert, "has a certificate that TLS cannot use");
    }
  }
  return {};
}

Result<void> require_client_certificate(ssl_ctx_st& context, const std::string& path) {
  const auto trusted = read_certificates(path);
  if (!trusted) return Failure(trusted.error());
  X509_STORE* const store = ::SSL_CTX_get_cert_store(&context);
  for (const Owned<X509>& one : *trusted) {
    if (::X509_STORE_add_cert(store, one.get()) != 1 ||
        ::SSL_CTX_add_client_CA(&context, one.get()) != 1) {
      return refused_by_tls(path, "has a certificate that TLS cannot use");
    }
  }
  ::SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  ::SSL_CTX_set_verify_depth(&context, deepest_chain);
  return {};
}

std::string name_in(const x509_st& certificate) {
  const Owned<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      ::X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) return text_of(name->d.dNSName);
  }
  const X509_NAME* const subject = ::X509_get_subject_name(&certificate);
  int last = -1;
  for (int at = -1; (at = ::X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
    last = at;
  if (last < 0) return {};
  return text_of(::X509_NAME_ENTRY_get_data(::X509_NAME_get_entry(subject, last)));
}

}  // namespace sluice::proxy
