#include "launcher/probes/self_check.h"

#include <fmt/core.h>

#include "base/text.h"

namespace sluice::launcher::probes {

Result<void> check_before_exec(const Bounds& bounds) {
  for (const AreaProbes& area : battery()) {
    for (const Probe& probe : area.probes) {
      if (probe.when != When::before_exec) continue;
      const Answer answer = probe.attempt(bounds);
      if (answer.kind != Answer::Kind::reached) continue;
      return fail(Errc::not_permitted,
                  fmt::format("{}the probe '{}' reached {}", leak_found, probe.name,
                              text::printable(answer.what)),
                  "sluice prove, with the same options, tries everything");
    }
  }
  return {};
}

}  // namespace sluice::launcher::probes
