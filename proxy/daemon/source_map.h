// Which agent the address of a client belongs to: the longest range that has it decides.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/ip_address.h"

namespace sluice::proxy {

class Agent;

class SourceMap {
 public:
  // Each range once.
  void add(const Cidr& range, std::shared_ptr<Agent> agent);
  // Null: no range has it.
  std::shared_ptr<Agent> find(const IpAddress& address) const;

 private:
  using Lengths = std::set<std::uint8_t, std::greater<>>;

  std::map<std::pair<std::uint8_t, IpAddress>, std::shared_ptr<Agent>> by_range_;
  Lengths lengths_v4_;
  Lengths lengths_v6_;
};

}  // namespace sluice::proxy
