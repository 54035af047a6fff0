// What one agent did, as far as rules are made of it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ip_address.h"

namespace sluice::allowlists {

struct SeenTraffic {
  std::uint64_t requests = 0;   // decisions, DNS questions not among them
  std::uint64_t refused = 0;    // of these
  std::uint64_t questions = 0;  // refused DNS questions
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;

  void add(const SeenTraffic& other) noexcept {
    requests += other.requests;
    refused += other.refused;
    questions += other.questions;
    bytes_up += other.bytes_up;
    bytes_down += other.bytes_down;
  }
};

struct SeenTarget {
  SeenTraffic traffic;
  std::vector<std::uint16_t> ports;  // sorted; none: asked for in DNS alone
  bool unnamed_on_443 = false;       // bytes passed without a TLS server name
  std::set<std::string> names;       // of an address: what led to it; the first few
};

struct SeenAgent {
  std::unordered_map<std::string, SeenTarget> names;
  std::map<IpAddress, SeenTarget> addresses;
  // What an operator refuses by rule: no suggestion opens it again. Port 0: every port.
  std::set<std::pair<std::string, std::uint16_t>> barred;
};

// The addresses that cidr rules must cover to open `address`: itself, and what is embedded in it
// and private.
std::vector<IpAddress> parts_to_cover(const IpAddress& address);

}  // namespace sluice::allowlists
