// Verifies proxy passwords against crypt(5) hashes, on a thread of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/ip_address.h"
#include "proxy/net.h"
#include "proxy/wire/basic_auth.h"

namespace sluice::proxy {

enum class Proof : std::uint8_t {
  right,
  wrong,           // no such user, or not its password: which of both is not told, nor by the time
  too_many_tries,  // not looked at: too many wrong ones from that address
  busy,            // not looked at: too many wait, or the verifier ends
};

struct PasswordRules {
  std::size_t queue = 64;     // questions that wait for the thread
  std::size_t cached = 4096;  // proofs
  std::chrono::seconds cached_for{600};
  unsigned tries = 10;  // wrong ones of an address (IPv6: of its /64) at once
  std::chrono::seconds new_try_each{2};
  std::size_t addresses = 4096;  // with wrong ones; all others share one allowance
};

// Safe to ask from any thread. Must be destroyed before the io_contexts of those who ask; what they
// still wait for is then `busy`.
class PasswordVerifier {
 public:
  using Users = std::vector<std::pair<std::string, std::string>>;  // name, crypt(5) hash

  // Refused: no user, a name twice, a hash that libcrypt does not know, counts as weak, or that is
  // cut short.
  static Result<std::unique_ptr<PasswordVerifier>> create(Users users, PasswordRules rules = {});
  ~PasswordVerifier();
  PasswordVerifier(const PasswordVerifier&) = delete;
  PasswordVerifier& operator=(const PasswordVerifier&) = delete;

  // Resumes on `io`, which must be the one the caller runs on. A caller may be cancelled or
  // destroyed while it waits. A right pair is known for cached_for without hashing it again;
  // identical questions are hashed once; a wrong one takes a try from its address.
  Task<Proof> verify(asio::io_context& io, wire::Credentials credentials, IpAddress from);

  // How many passwords were hashed so far.
  std::uint64_t hashed() const noexcept;

 private:
  class State;
  explicit PasswordVerifier(std::shared_ptr<State> state) noexcept;

  std::shared_ptr<State> state_;
};

}  // namespace sluice::proxy
