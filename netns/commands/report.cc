#include "netns/commands/report.h"

#include <fmt/core.h>
#include <unistd.h>

#include "base/io.h"

namespace sluice::netns {
void say(std::string_view text) {
  (void)write_all(STDERR_FILENO, "stderr", fmt::format("sluice-netns: {}\n", text));
}

int report(const Error& error) {
  say(to_string(error));
  return failed_status;
}

Result<StateFolder> open_state_as_root(std::string_view verb) {
  if (::geteuid() != 0) {
    return fail(Errc::not_permitted, fmt::format("'{}' needs root", verb),
                "as an ordinary user: 'sluice run' for an agent of your own, 'sluice-netns attach' "
                "for a container of yours that runs");
  }
  return StateFolder::open();
}

}  // namespace sluice::netns
