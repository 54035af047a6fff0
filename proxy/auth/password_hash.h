// Compares a password with a crypt(5) hash.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "proxy/wire/secret.h"

struct crypt_data;

namespace sluice::proxy {

// Whether the hash is whole and of a method that still resists guessing: yescrypt, gost-yescrypt,
// scrypt, bcrypt, SHA-512 or SHA-256. `user` is whose it is, for the error.
Result<void> check_password_hash(std::string_view user, const std::string& hash);

// crypt_r(3), which takes milliseconds on purpose, then a comparison in constant time. False too
// for what crypt(3) cannot hash: 512 bytes or more, a zero byte inside. `scratch` is wiped.
bool matches(const wire::Secret& password, const std::string& hash, crypt_data& scratch) noexcept;

}  // namespace sluice::proxy
