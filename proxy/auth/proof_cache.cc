#include "proxy/auth/proof_cache.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>

namespace sluice::proxy {

std::optional<PairKey> PairKey::draw() noexcept {
  PairKey key;
  if (::RAND_bytes(key.bytes_.data(), static_cast<int>(key.bytes_.size())) != 1)
    return std::nullopt;
  return key;
}

PairKey::~PairKey() { ::OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

std::optional<PairDigest> PairKey::digest(const wire::Credentials& credentials) const noexcept {
  const std::string_view password = credentials.password.view();
  const std::size_t size = credentials.user.size() + 1 + password.size();
  std::array<unsigned char, wire::longest_user + 1 + wire::longest_password> pair;
  if (size > pair.size() || credentials.user.find('\0') != std::string::npos) return std::nullopt;
  auto* const behind_user =
      std::copy(credentials.user.begin(), credentials.user.end(), pair.begin());
  *behind_user = 0;
  std::copy(password.begin(), password.end(), behind_user + 1);
  PairDigest digest;
  unsigned length = 0;
  const bool made = ::HMAC(::EVP_sha256(), bytes_.data(), static_cast<int>(bytes_.size()),
                           pair.data(), size, digest.data(), &length) != nullptr;
  ::OPENSSL_cleanse(pair.data(), pair.size());
  if (!made || length != digest.size()) return std::nullopt;
  return digest;
}

void ProofCache::add(const PairDigest& digest, Clock::time_point now) {
  if (const auto found = until_.find(digest); found != until_.end()) {
    found->second = now + lifetime_;
    return;
  }
  while (!by_age_.empty() &&
         (by_age_.size() >= most_ || until_.find(by_age_.front())->second <= now)) {
    until_.erase(by_age_.front());
    by_age_.pop_front();
  }
  until_.emplace(digest, now + lifetime_);
  by_age_.push_back(digest);
}

}  // namespace sluice::proxy
