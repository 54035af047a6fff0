#include "launcher/cgroup/reached.h"

#include <fmt/core.h>

#include <csignal>

namespace sluice::launcher::cgroup {

std::string in_words(const Reached& reached, const Limits& limits, int status) {
  std::string text;
  if (reached.killed > 0) {
    const bool is_end = status == 128 + SIGKILL;
    text += is_end ? "; the agent was ended: "
                   : fmt::format("; {} of its processes {} ended: ", reached.killed,
                                 reached.killed == 1 ? "was" : "were");
    text += reached.is_own_limit && limits.memory
                ? fmt::format("memory limit {} reached", size_in_words(*limits.memory))
                : "no memory was left outside of its own limit";
  }
  if (reached.refused_forks > 0 && limits.pids) {
    text +=
        fmt::format("; its limit of {} processes was reached {}", *limits.pids,
                    reached.refused_forks == 1 ? std::string("once")
                                               : fmt::format("{} times", reached.refused_forks));
  }
  return text;
}

}  // namespace sluice::launcher::cgroup
