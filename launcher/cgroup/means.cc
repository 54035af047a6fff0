#include "launcher/cgroup/means.h"

#include <fmt/format.h>

namespace sluice::launcher::cgroup {
namespace {

std::string step_of(const Limits& group) {
  std::vector<std::string> limits;
  if (group.memory) limits.push_back(fmt::format("{} of memory", size_in_words(*group.memory)));
  if (group.cpus) limits.push_back(fmt::format("{} CPUs", cpus_in_words(*group.cpus)));
  if (group.pids) limits.push_back(fmt::format("{} processes", *group.pids));
  return fmt::format("make a control group of at most {}", fmt::join(limits, ", "));
}

// What becomes of each limit that was asked for and has no ground, and why.
class Notice {
 public:
  explicit Notice(const Place& place) : place_(place) {}

  void add(Controller controller, std::string sentence) {
    if (why_.empty()) why_ = place_.lacking.at(controller);
    sentences_.push_back(std::move(sentence));
  }
  std::string text() const {
    if (sentences_.empty()) return {};
    return fmt::format("{}; no control group: {} ('sluice doctor' says what mends it)",
                       fmt::join(sentences_, ", "), why_);
  }

 private:
  const Place& place_;
  std::string why_;
  std::vector<std::string> sentences_;
};

}  // namespace

Means choose_means(const Limits& asked, const Place& place) {
  Means means;
  Notice notice(place);
  const auto has = [&](Controller controller) { return place.of(controller) != nullptr; };
  const std::uint64_t pids = asked.pids.value_or(default_pids);
  (has(Controller::memory) ? means.group.memory : means.process.data) = asked.memory;
  (has(Controller::pids) ? means.group.pids : means.process.processes) = pids;
  if (has(Controller::cpu)) means.group.cpus = asked.cpus;
  if (means.group.memory || means.group.cpus || means.group.pids)
    means.steps.push_back(step_of(means.group));
  if (means.process.data) {
    const std::string size = size_in_words(*means.process.data);
    notice.add(Controller::memory,
               fmt::format("--memory {} holds for each process alone, not for the agent", size));
    means.steps.push_back(fmt::format("limit the data of each process to {}", size));
  }
  if (means.process.processes) {
    if (asked.pids) notice.add(Controller::pids, fmt::format("--pids {} is an rlimit", pids));
    means.steps.push_back(fmt::format("limit the agent to {} processes by an rlimit", pids));
  }
  if (asked.cpus && !has(Controller::cpu)) {
    notice.add(Controller::cpu, fmt::format("--cpus {} is not kept", cpus_in_words(*asked.cpus)));
  }
  means.notice = notice.text();
  return means;
}

}  // namespace sluice::launcher::cgroup
