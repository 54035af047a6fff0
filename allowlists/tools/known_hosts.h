// What is known of public hosts that makes it unwise to allow them without a thought.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sluice::allowlists {

enum class HostKind : std::uint8_t {
  upload,           // strangers can read what is uploaded there
  dns_over_https,   // RFC 8484
  ech_public_name,  // of Encrypted ClientHello: an SNI that stands for any customer
  shared_front,     // one address and certificate serve many tenants
  whole_cloud,      // strangers have hosts and accounts in it
  own_machine,      // what a container runtime calls the machine
};

struct KnownHost {
  // As a policy spells it: "gist.example.com", "*.example.net", ".example.org".
  std::string_view pattern;
  HostKind kind;
  std::string_view what;  // "code snippets", the provider's name

  // Without "*." and ".".
  std::string_view name() const noexcept;
  bool covers_itself() const noexcept { return !pattern.starts_with('*'); }
  bool covers_below() const noexcept {
    return pattern.starts_with('*') || pattern.starts_with('.');
  }
};

std::span<const KnownHost> known_hosts() noexcept;

}  // namespace sluice::allowlists
