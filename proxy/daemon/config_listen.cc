#include "proxy/daemon/config_reader.h"

namespace sluice::proxy {

void read_listen(ConfigReader& reader, const YAML::Node& node, std::vector<Config::Listener>&) {
  reader.error(node.Mark(), "'listen' is not built yet", "leave it out");
}

}  // namespace sluice::proxy
