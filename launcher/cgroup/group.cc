#include "launcher/cgroup/group.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/io.h"
#include "base/text.h"
#include "launcher/cgroup/settings.h"

namespace sluice::launcher::cgroup {
namespace {

// The kernel charges a group for 64 pages at a time where it can.
constexpr std::uint64_t charge_batch = std::uint64_t{64} * 4096;

bool is_asked(Controller controller, const Limits& limits) {
  switch (controller) {
    case Controller::memory:
      return limits.memory.has_value();
    case Controller::pids:
      return limits.pids.has_value();
    case Controller::io:
      return limits.io_weight.has_value();
    case Controller::cpu:
      break;
  }
  return limits.cpus.has_value();
}

// "+memory +pids"
std::string handed(const std::vector<Controller>& controllers) {
  std::string text;
  for (const Controller controller : controllers) {
    text += fmt::format("{}+{}", text.empty() ? "" : " ", to_string(controller));
  }
  return text;
}

}  // namespace

Result<void> Group::add(const Ground& ground, const std::vector<Controller>& needed,
                        const std::vector<pid_t>& company) {
  if (ground.version == Version::v2) {
    auto leaf = Leaf::enter(ground, handed(needed), company);
    if (!leaf) return Failure(leaf.error());
    leaf_.emplace(std::move(*leaf));
  }
  auto directory = Directory::make(ground.directory);
  if (!directory) return Failure(directory.error());
  for (const Controller controller : needed) {
    bool has_any = false;
    for (const Setting& setting : settings_for(ground.version, controller, limits_)) {
      if (setting.if_there && !directory->has(setting.file)) {
        if (!setting.unkept.empty()) unkept_.push_back(setting.unkept);
        continue;
      }
      has_any = true;
      if (auto done = directory->write(setting.file, setting.value); !done) return done;
    }
    if (!has_any) unkept_.push_back(no_weight(*limits_.io_weight));
  }
  const std::string procs = directory->path() + "/cgroup.procs";
  Fd entrance(::open(procs.c_str(), O_WRONLY | O_CLOEXEC));
  if (!entrance) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot open '{}'", text::printable(procs)));
  }
  parts_.push_back({ground.version, std::move(*directory), std::move(entrance)});
  return {};
}

Result<Group> Group::make(const Place& place, const Limits& limits,
                          const std::vector<pid_t>& company) {
  Group group(limits);
  for (const Ground& ground : place.grounds) remove_abandoned(ground.directory);
  for (const Ground& ground : place.grounds) {
    std::vector<Controller> needed;
    for (const Controller controller : ground.controllers) {
      if (is_asked(controller, limits) && place.of(controller) == &ground)
        needed.push_back(controller);
    }
    if (needed.empty()) continue;
    if (auto added = group.add(ground, needed, company); !added) return Failure(added.error());
  }
  return group;
}

std::vector<int> Group::entrances() const {
  std::vector<int> entrances;
  entrances.reserve(parts_.size());
  for (const Part& part : parts_) entrances.push_back(part.entrance.get());
  return entrances;
}

Reached Group::reached() const {
  Reached reached;
  for (const auto& [version, directory, entrance] : parts_) {
    reached.refused_forks += number_of(directory.read("pids.events"), "max");
    if (version == Version::v2) {
      const std::string events = directory.read("memory.events");
      reached.killed += number_of(events, "oom_kill");
      reached.is_own_limit |= number_of(events, "oom") > 0;
    } else {
      reached.killed += number_of(directory.read("memory.oom_control"), "oom_kill");
      // Newer kernels do not count failures here any more.
      const auto most = number_of("most " + directory.read("memory.max_usage_in_bytes"), "most");
      reached.is_own_limit |= limits_.memory && most + charge_batch >= *limits_.memory;
    }
  }
  return reached;
}

std::string Group::unkept() const { return fmt::format("{}", fmt::join(unkept_, ", ")); }

std::string Group::tell(int status) const { return in_words(reached(), limits_, status); }

Result<void> join_groups(const std::vector<int>& entrances) {
  for (const int entrance : entrances) {
    if (auto done = write_all(entrance, "cgroup.procs", "0"); !done) return done;
  }
  return {};
}

bool Group::ended_by_memory(int status) const {
  const Reached counted = reached();
  return status == 128 + SIGKILL && counted.killed > 0 && counted.is_own_limit;
}

}  // namespace sluice::launcher::cgroup
