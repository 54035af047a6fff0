#include "netns/commands/attach.h"

#include <fmt/core.h>
#include <unistd.h>

#include "base/io.h"
#include "netns/attach/attach_supervisor.h"
#include "netns/commands/report.h"

namespace sluice::netns {
namespace {

void tell(const AttachOrder& order, const std::vector<std::string>& withdrawn) {
  for (const std::string& sentence : withdrawn) say(fmt::format("warning: {}", sentence));
  say(fmt::format("'{}' is registered", order.agent));
}

}  // namespace

int run_attach(const AttachOrder& order) {
  AttachSupervisor supervisor(order, say);
  if (auto started = supervisor.start(); !started) return report(started.error());
  tell(order, supervisor.withdrawn());
  return supervisor.run();
}

int run_attach_detached(const AttachOrder& order) {
  const auto detached = attach_detached(order);
  if (!detached) return report(detached.error());
  tell(order, detached->withdrawn);
  const auto printed = write_all(STDOUT_FILENO, "stdout", fmt::format("{}\n", detached->pid));
  return printed ? 0 : report(printed.error());
}

}  // namespace sluice::netns
