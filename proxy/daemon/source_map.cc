#include "proxy/daemon/source_map.h"

namespace sluice::proxy {

void SourceMap::add(const Cidr& range, std::shared_ptr<Agent> agent) {
  (range.network.is_v4() ? lengths_v4_ : lengths_v6_).insert(range.length);
  by_range_.emplace(std::pair(range.length, range.network), std::move(agent));
}

std::shared_ptr<Agent> SourceMap::find(const IpAddress& address) const {
  for (const std::uint8_t length : address.is_v4() ? lengths_v4_ : lengths_v6_) {
    const auto found = by_range_.find({length, Cidr::around(address, length).network});
    if (found != by_range_.end()) return found->second;
  }
  return nullptr;
}

}  // namespace sluice::proxy
