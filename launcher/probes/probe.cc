#include "launcher/probes/probe.h"

#include "launcher/probes/areas.h"

namespace sluice::launcher::probes {

std::string_view to_string(Area area) noexcept {
  switch (area) {
    case Area::network:
      return "network";
    case Area::filesystem:
      return "filesystem";
    case Area::privileges:
      return "privileges";
    case Area::processes:
      return "processes";
    case Area::resources:
      return "resources";
    case Area::terminal:
      break;
  }
  return "terminal";
}

std::string_view to_string(Answer::Kind kind) noexcept {
  switch (kind) {
    case Answer::Kind::held:
      return "held";
    case Answer::Kind::reached:
      return "reached";
    case Answer::Kind::not_applicable:
      return "not_applicable";
    case Answer::Kind::no_answer:
      break;
  }
  return "no_answer";
}

const std::array<AreaProbes, 8>& battery() {
  static const std::array<AreaProbes, 8> all{{{Area::network, network_probes()},
                                              {Area::network, socket_probes()},
                                              {Area::filesystem, filesystem_probes()},
                                              {Area::filesystem, view_probes()},
                                              {Area::privileges, privilege_probes()},
                                              {Area::processes, process_probes()},
                                              {Area::resources, resource_probes()},
                                              {Area::terminal, terminal_probes()}}};
  return all;
}

}  // namespace sluice::launcher::probes
