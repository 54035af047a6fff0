#include "launcher/supervision/supervisor.h"

#include <fmt/core.h>
#include <unistd.h>

#include "base/io.h"
#include "launcher/supervision/supervision.h"

namespace sluice::launcher {

int supervise(SupervisorOrder order) {
  Supervision supervision(std::move(order));
  if (auto started = supervision.start(); !started) {
    const std::string text = fmt::format("sluice: {}\n", to_string(started.error()));
    (void)write_all(STDERR_FILENO, "stderr", text);
    return sluice_failed;
  }
  return supervision.run();
}

}  // namespace sluice::launcher
