#include "netns/commands/supervise.h"

#include "netns/commands/report.h"
#include "netns/named/resident.h"

namespace sluice::netns {

int run_supervise() {
  auto folder = open_state_as_root("supervise");
  if (!folder) return report(folder.error());
  const auto ended = Resident(std::move(*folder), say).run();
  return ended ? 0 : report(ended.error());
}

}  // namespace sluice::netns
