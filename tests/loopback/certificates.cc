#include "tests/loopback/certificates.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <fstream>
#include <stdexcept>

namespace sluice::proxy {
namespace {

void require(bool good) {
  if (!good) throw std::runtime_error("OpenSSL could not make a certificate");
}

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* const made = ::X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  require(made != nullptr && ::X509_add_ext(certificate, made, -1) == 1);
  ::X509_EXTENSION_free(made);
}

template <class Write>
std::string pem_of(Write write) {
  const std::unique_ptr<BIO, int (*)(BIO*)> out(::BIO_new(::BIO_s_mem()), ::BIO_free);
  require(write(out.get()) == 1);
  char* text = nullptr;
  const long size = ::BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace

Identity make_identity(const Subject& subject) {
  const Identity made{{::EVP_EC_gen("P-256"), ::EVP_PKEY_free}, {::X509_new(), ::X509_free}};
  X509* const certificate = made.certificate.get();
  static long serial = 0;
  require(made.key && ::X509_set_version(certificate, 2) == 1 &&
          ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate), ++serial) == 1 &&
          ::X509_set_pubkey(certificate, made.key.get()) == 1);
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate), subject.from);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate), subject.until);
  X509_NAME* const name = ::X509_get_subject_name(certificate);
  if (!subject.common_name.empty()) {
    const auto* const text = reinterpret_cast<const unsigned char*>(subject.common_name.data());
    require(::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text,
                                         static_cast<int>(subject.common_name.size()), -1, 0) == 1);
  }
  const Identity& issuer = subject.issuer == nullptr ? made : *subject.issuer;
  require(::X509_set_issuer_name(certificate, ::X509_get_subject_name(issuer.certificate.get())) ==
          1);
  if (subject.authority) add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
  if (!subject.alternative.empty()) {
    add_extension(certificate, NID_subject_alt_name, subject.alternative);
  }
  require(::X509_sign(certificate, issuer.key.get(), ::EVP_sha256()) > 0);
  return made;
}

PemFolder::PemFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "sluice-tls.XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = path;
}
PemFolder::~PemFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string PemFolder::write(const std::string& name, const std::string& text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
  return path_ / name;
}

std::string PemFolder::write_certificate(const std::string& name, const Identity& identity) const {
  return write(name, pem_of([&](BIO* out) {
                 return ::PEM_write_bio_X509(out, identity.certificate.get());
               }));
}

std::string PemFolder::write_key(const std::string& name, const Identity& identity,
                                 const std::string& passphrase) const {
  return write(name, pem_of([&](BIO* out) {
                 return ::PEM_write_bio_PKCS8PrivateKey(
                     out, identity.key.get(), passphrase.empty() ? nullptr : ::EVP_aes_256_cbc(),
                     passphrase.data(), static_cast<int>(passphrase.size()), nullptr, nullptr);
               }));
}

}  // namespace sluice::proxy
