#include "launcher/cgroup/means.h"

#include <fmt/format.h>

namespace sluice::launcher::cgroup {
namespace {

std::string step_of(const Limits& group) {
  std::vector<std::string> limits;
  if (group.memory) limits.push_back(fmt::format("{} of memory", size_in_words(*group.memory)));
  if (group.memory && group.swap.value_or(0) > 0)
    limits.push_back(fmt::format("{} of swap", size_in_words(*group.swap)));
  if (group.cpus) limits.push_back(fmt::format("{} CPUs", cpus_in_words(*group.cpus)));
  if (group.pids) limits.push_back(fmt::format("{} processes", *group.pids));
  const std::string weight =
      group.io_weight ? fmt::format("with an I/O weight of {}", *group.io_weight) : std::string();
  if (limits.empty()) return "make a control group " + weight;
  return fmt::format("make a control group of at most {}{}{}", fmt::join(limits, ", "),
                     weight.empty() ? "" : ", ", weight);
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
  if (has(Controller::io)) means.group.io_weight = asked.io_weight;
  if (has(Controller::memory)) means.group.swap = asked.swap;
  if (means.group.memory || means.group.cpus || means.group.pids || means.group.io_weight)
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
  if (asked.io_weight && !has(Controller::io)) {
    notice.add(Controller::io, fmt::format("--io-weight {} is not kept", *asked.io_weight));
  }
  if (asked.swap && !has(Controller::memory)) {
    notice.add(Controller::memory,
               fmt::format("--swap {} is not kept", size_in_words(*asked.swap)));
  }
  means.notice = notice.text();
  return means;
}

}  // namespace sluice::launcher::cgroup
