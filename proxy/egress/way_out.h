// How connections leave this machine: from which address, with which mark, directly or through an
// upstream proxy.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/host.h"
#include "base/error.h"
#include "proxy/daemon/config.h"

namespace sluice::proxy {

// A proxy that is asked by CONNECT (RFC 9110 9.3.6) for whatever does not go out directly.
struct UpstreamProxy {
  allowlists::Host host;
  std::uint16_t port = 0;
  std::string authorization;  // "Basic …" (RFC 7617); "": none
  Config::UpstreamProxy::Except except;
  Config::UpstreamProxy::Send send = Config::UpstreamProxy::Send::address;

  bool excepts(const allowlists::Host& host) const noexcept;
  bool excepts(const IpAddress& address) const noexcept;
  // "proxy.example:3128"
  std::string to_string() const;
};

// Immutable; shared by all threads. Default-constructed: directly, as the kernel's routes say.
class WayOut {
 public:
  WayOut() = default;

  // Reads the credentials file: bad_config unless it is one line "user:password". Tries whether
  // this process may set the marks (SO_MARK, socket(7)): not_permitted when it may not. What is
  // merely doubtful is added to `warnings`.
  static Result<WayOut> open(const Config& config, Errors& warnings);

  // Null: everything goes directly.
  const UpstreamProxy* upstream() const noexcept { return upstream_ ? &*upstream_ : nullptr; }
  // The first entry for an agent of that name; null: none.
  const Config::Egress* of(std::string_view agent) const noexcept;

 private:
  std::optional<UpstreamProxy> upstream_;
  std::vector<Config::Egress> entries_;
};

}  // namespace sluice::proxy
