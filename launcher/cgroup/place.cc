#include "launcher/cgroup/place.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/io.h"
#include "base/text.h"

namespace sluice::launcher::cgroup {
namespace {

constexpr std::size_t largest_table = std::size_t{64} * 1024 * 1024;
constexpr std::size_t largest_file = std::size_t{1024} * 1024;
constexpr std::array<Controller, 4> all_controllers{Controller::memory, Controller::pids,
                                                    Controller::cpu, Controller::io};

bool may_write(const std::string& path) {
  return ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
}

bool is_there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::string text_of(const std::string& path) {
  std::string text = read_file(path, largest_file).value_or(std::string());
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool has_word(const std::string& words, std::string_view word) {
  return (" " + words + " ").find(fmt::format(" {} ", word)) != std::string::npos;
}

std::string quoted(const std::string& path) { return fmt::format("'{}'", text::printable(path)); }

// "" where a child can be made in `own` and a process moved there, else why not.
std::string refusal(const Hierarchy& hierarchy, pid_t caller) {
  const std::string& own = hierarchy.own;
  if (own.empty()) return "the caller's control group lies outside of what is mounted";
  if (!may_write(own) || !may_write(own + "/cgroup.procs")) {
    return fmt::format("{} may not be written by this user", quoted(own));
  }
  // cgroup.type is in every group but the root (Documentation/admin-guide/cgroup-v2.rst).
  if (hierarchy.version == Version::v1 || !is_there(own + "/cgroup.type")) return {};
  if (!may_write(own + "/cgroup.subtree_control")) {
    return fmt::format("{} is not delegated to this user", quoted(own));
  }
  if (text_of(own + "/cgroup.procs") == fmt::format("{}", caller)) return {};
  return fmt::format("{} holds other processes than sluice", quoted(own));
}

bool holds(const Hierarchy& hierarchy, Controller controller) {
  const std::string name(to_string(controller));
  if (hierarchy.version == Version::v2) {
    return has_word(text_of(hierarchy.own + "/cgroup.controllers"), name);
  }
  const auto& names = hierarchy.controllers;
  return std::find(names.begin(), names.end(), name == "io" ? "blkio" : name) != names.end();
}

}  // namespace

std::string_view to_string(Controller controller) noexcept {
  switch (controller) {
    case Controller::memory:
      return "memory";
    case Controller::pids:
      return "pids";
    case Controller::io:
      return "io";
    case Controller::cpu:
      break;
  }
  return "cpu";
}

const Ground* Place::of(Controller controller) const {
  for (const Ground& ground : grounds) {
    const auto& there = ground.controllers;
    if (std::find(there.begin(), there.end(), controller) != there.end()) return &ground;
  }
  return nullptr;
}

Place find_place(const std::vector<Hierarchy>& hierarchies, pid_t caller) {
  Place place;
  for (const Controller controller : all_controllers) {
    place.lacking[controller] =
        hierarchies.empty()
            ? "no control groups are mounted"
            : fmt::format("no control group has the controller {}", to_string(controller));
  }
  for (const Hierarchy& hierarchy : hierarchies) {
    Ground ground{hierarchy.version, hierarchy.own, {}, MustLeave::no};
    const std::string why = refusal(hierarchy, caller);
    const bool is_out_of_sight = hierarchy.own.empty() && hierarchy.version == Version::v2;
    for (const Controller controller : all_controllers) {
      if (!is_out_of_sight && !holds(hierarchy, controller)) continue;
      if (why.empty()) ground.controllers.push_back(controller);
      place.lacking[controller] = why;
    }
    if (ground.controllers.empty()) continue;
    ground.must_leave =
        MustLeave(hierarchy.version == Version::v2 && is_there(hierarchy.own + "/cgroup.type"));
    place.grounds.push_back(std::move(ground));
  }
  for (const Controller controller : all_controllers) {
    if (place.of(controller) != nullptr) place.lacking.erase(controller);
  }
  return place;
}

Result<std::vector<Hierarchy>> own_hierarchies() {
  const auto mounts = read_file("/proc/self/mountinfo", largest_table);
  if (!mounts) return Failure(mounts.error());
  const auto groups = read_file("/proc/self/cgroup", largest_table);
  if (!groups) return Failure(groups.error());
  return read_hierarchies(parse_mountinfo(*mounts), *groups);
}

}  // namespace sluice::launcher::cgroup
