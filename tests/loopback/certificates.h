// Certificates for a test, made on the spot, in a directory that goes with it.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <filesystem>
#include <memory>
#include <string>

namespace sluice::proxy {

// A key and its certificate.
struct Identity {
  std::shared_ptr<EVP_PKEY> key;
  std::shared_ptr<X509> certificate;
};

struct Subject {
  std::string common_name;
  std::string alternative;           // as openssl.cnf spells it: "DNS:a.test"; "": none
  const Identity* issuer = nullptr;  // null: signed by itself
  bool authority = false;
  long from = -3600;  // seconds from now
  long until = 3600;
};
Identity make_identity(const Subject& subject);

class PemFolder {
 public:
  PemFolder();
  ~PemFolder();
  PemFolder(const PemFolder&) = delete;
  PemFolder& operator=(const PemFolder&) = delete;

  // Each answers the path.
  std::string write(const std::string& name, const std::string& text) const;
  std::string write_certificate(const std::string& name, const Identity& identity) const;
  // Encrypted when there is a passphrase.
  std::string write_key(const std::string& name, const Identity& identity,
                        const std::string& passphrase = {}) const;

 private:
  std::filesystem::path path_;
};

}  // namespace sluice::proxy
