#include "proxy/auth/password_hash.h"

#include <crypt.h>
#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace sluice::proxy {
namespace {

struct Method {
  std::string_view prefix;
  std::size_t size;  // of what stands behind the last '$'
};

// crypt(5). What counts as broken there (MD5, DES, NTHASH, SHA-1, the first bcrypt) is left out.
constexpr std::array<Method, 8> methods = {{{"$y$", 43},
                                            {"$gy$", 43},
                                            {"$7$", 43},
                                            {"$2b$", 53},
                                            {"$2a$", 53},
                                            {"$2y$", 53},
                                            {"$6$", 86},
                                            {"$5$", 43}}};

bool is_hash_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '/';
}

// Nothing is wrong with it: "".
std::string_view fault_of(const std::string& hash) noexcept {
  const auto* const method = std::find_if(methods.begin(), methods.end(), [&](const Method& one) {
    return hash.starts_with(one.prefix);
  });
  if (method == methods.end()) return "is of no method that is strong enough";
  const std::string_view last = std::string_view(hash).substr(hash.rfind('$') + 1);
  if (last.size() != method->size || !std::all_of(last.begin(), last.end(), is_hash_letter)) {
    return "is not whole";
  }
  switch (::crypt_checksalt(hash.c_str())) {
    case CRYPT_SALT_OK:
    case CRYPT_SALT_METHOD_LEGACY:  // so libcrypt calls SHA-256; older ones were sorted out above
      return "";
    case CRYPT_SALT_TOO_CHEAP:
      return "is too cheap to resist guessing";
    default:
      return "is not understood by libcrypt on this machine";
  }
}

}  // namespace

Result<void> check_password_hash(std::string_view user, const std::string& hash) {
  const std::string_view fault = fault_of(hash);
  if (fault.empty()) return {};
  return fail(Errc::bad_config,
              fmt::format("the password hash of user '{}' {}", text::printable(user), fault),
              "make one with 'mkpasswd -m yescrypt' or 'openssl passwd -6'");
}

bool matches(const wire::Secret& password, const std::string& hash, crypt_data& scratch) noexcept {
  // crypt(3) ends at a zero byte: what stands behind would not count.
  if (password.view().find('\0') != std::string_view::npos) return false;
  scratch = {};
  const char* const made = ::crypt_r(password.c_str(), hash.c_str(), &scratch);
  const std::string_view result = made == nullptr ? "*" : made;
  const bool same = !result.starts_with('*') && result.size() == hash.size() &&
                    ::CRYPTO_memcmp(result.data(), hash.data(), hash.size()) == 0;
  ::OPENSSL_cleanse(&scratch, sizeof scratch);
  return same;
}

}  // namespace sluice::proxy
