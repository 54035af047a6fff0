#include "base/sha256.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <array>

namespace sluice {

std::string sha256_hex(std::string_view bytes, std::size_t digits) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  ::EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, ::EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  hex.resize(digits < hex.size() ? digits : hex.size());
  return hex;
}

}  // namespace sluice
