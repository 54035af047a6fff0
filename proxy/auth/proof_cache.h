// Which passwords were right a short while ago, without holding one of them.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "proxy/net.h"
#include "proxy/wire/basic_auth.h"

namespace sluice::proxy {

// HMAC-SHA256 (RFC 2104) of a name and a password under a key that nobody can ask for.
using PairDigest = std::array<std::uint8_t, 32>;

// A digest is as good as random to everybody else.
struct HashOfDigest {
  std::size_t operator()(const PairDigest& digest) const noexcept {
    std::size_t hash = 0;
    std::memcpy(&hash, digest.data(), sizeof hash);
    return hash;
  }
};

// The key: drawn once, wiped at the end.
class PairKey {
 public:
  // Nothing: the system has no random bytes.
  static std::optional<PairKey> draw() noexcept;
  PairKey(PairKey&&) = default;
  PairKey(const PairKey&) = delete;
  PairKey& operator=(const PairKey&) = delete;
  ~PairKey();

  // Of user||0||password. Nothing: out of memory, or a zero byte in the name.
  std::optional<PairDigest> digest(const wire::Credentials& credentials) const noexcept;

 private:
  PairKey() = default;
  std::array<std::uint8_t, 32> bytes_{};
};

// Bounded in number and time; the oldest goes first. Not synchronised.
class ProofCache {
 public:
  ProofCache(std::size_t most, Clock::duration lifetime) noexcept
      : most_(most), lifetime_(lifetime) {}

  bool has(const PairDigest& digest, Clock::time_point now) const noexcept {
    const auto found = until_.find(digest);
    return found != until_.end() && now < found->second;
  }
  void add(const PairDigest& digest, Clock::time_point now);
  std::size_t size() const noexcept { return until_.size(); }

 private:
  const std::size_t most_;
  const Clock::duration lifetime_;
  std::unordered_map<PairDigest, Clock::time_point, HashOfDigest> until_;
  std::deque<PairDigest> by_age_;  // exactly the keys of until_
};

}  // namespace sluice::proxy
