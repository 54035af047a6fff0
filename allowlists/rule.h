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

enum class Scope : std::uint8_t {  // those found by a name's suffixes come first
  exact,                           // host: example.com
  below,                           // host: "*.example.com"
  tree,                            // host: ".example.com", the name itself and everything below
  regex,                           // host_regex: "build-[0-9]+\\.example\\.com"
  any,                             // any: true
  cidr,                            // cidr: 10.0.0.0/8
};

struct Rule {
  Effect effect = Effect::allow;
  Scope scope = Scope::exact;
  // For exact, below and tree: canonical, without "*." and "."; for regex: RE2 syntax.
  std::string name;
  Cidr range;                        // for cidr
  std::vector<std::uint16_t> ports;  // empty: 80 and 443 for allow, every port for deny
  std::optional<TlsMode> tls;        // empty: require on 443, match elsewhere
  bool refuse_ech = false;
  std::uint32_t id = 0;  // its place: PolicyText::places[id]; grows in file order
  std::string why;       // what the operator says of it; may be empty
};

}  // namespace sluice::allowlists
