#include "proxy/daemon/config_reader.h"

namespace sluice::proxy {

void read_upstream_proxy(ConfigReader& reader, const YAML::Node& node,
                         std::optional<Config::UpstreamProxy>&) {
  reader.error(node.Mark(), "'upstream_proxy' is not built yet", "leave it out");
}

void read_egress(ConfigReader& reader, const YAML::Node& node, std::vector<Config::Egress>&) {
  reader.error(node.Mark(), "'egress' is not built yet", "leave it out");
}

}  // namespace sluice::proxy
