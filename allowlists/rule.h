// One rule as the operator wrote it, checked and in canonical form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/policy.h"
#include "base/ip_address.h"

namespace sluice::allowlists {

// The name of this machine's own loopback. No host rule opens it, only a cidr rule.
inline constexpr std::string_view own_loopback_name = "host.sluice.internal";

enum class Effect : std::uint8_t { allow, deny };

enum class Scope : std::uint8_t {
  exact,  // host: example.com
  below,  // host: "*.example.com"
  tree,   // host: ".example.com", the name itself and everything below
  any,    // any: true
  cidr,   // cidr: 10.0.0.0/8
};

struct Rule {
  Effect effect = Effect::allow;
  Scope scope = Scope::exact;
  std::string name;                  // for exact, below and tree: canonical, without "*." and "."
  Cidr range;                        // for cidr
  std::vector<std::uint16_t> ports;  // empty: 80 and 443 for allow, every port for deny
  std::optional<TlsMode> tls;        // empty: require on 443, match elsewhere
  bool refuse_ech = false;
  std::uint32_t id = 0;  // grows in file order
};

}  // namespace sluice::allowlists
