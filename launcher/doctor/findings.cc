#include "launcher/doctor/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <string_view>
#include <utility>

#include "launcher/doctor/fence_findings.h"
#include "launcher/doctor/sandbox_findings.h"
#include "launcher/roots/sub_ids.h"

namespace sluice::launcher::doctor {
namespace {

using End = Attempt::End;

constexpr const char* unified = "boot with systemd.unified_cgroup_hierarchy=1";
// 5.12 has idmapped mounts, 5.15 is the oldest kernel of the long-term series with them.
constexpr std::pair<int, int> oldest{5, 15};
// {0, 0} for a release that is none.
std::pair<int, int> version_of(const std::string& release) {
  int major = 0;
  int minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) return {0, 0};
  return {major, minor};
}

std::string names_of(const std::vector<CallFact>& calls, int error_number) {
  std::vector<std::string> names;
  for (const CallFact& call : calls) {
    if (call.error_number == error_number)
      names.push_back(fmt::format("{} ({})", call.name, call.since));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// usermod(8)
std::string give_subids(const std::string& user) {
  return fmt::format("usermod --add-subuids 200000-265535 --add-subgids 200000-265535 {}", user);
}

// "memory and pids: WHY; cpu: WHY"
std::string reasons_of(const std::map<cgroup::Controller, std::string>& lacking) {
  std::map<std::string, std::vector<std::string_view>> controllers;
  for (const auto& [controller, why] : lacking) {
    controllers[why].push_back(cgroup::to_string(controller));
  }
  std::vector<std::string> reasons;
  reasons.reserve(controllers.size());
  for (const auto& [why, names] : controllers) {
    reasons.push_back(fmt::format("{}: {}", fmt::join(names, ", "), why));
  }
  return fmt::format("{}", fmt::join(reasons, "; "));
}

// What `sluice run` does instead (docs/resources.md).
std::string instead_of(const std::map<cgroup::Controller, std::string>& lacking) {
  std::vector<std::string_view> what;
  if (lacking.contains(cgroup::Controller::memory))
    what.emplace_back("--memory holds for each process alone");
  if (lacking.contains(cgroup::Controller::pids)) what.emplace_back("--pids is an rlimit");
  if (lacking.contains(cgroup::Controller::cpu)) what.emplace_back("--cpus is not kept");
  if (lacking.contains(cgroup::Controller::io)) what.emplace_back("--io-weight is not kept");
  return fmt::format("{}", fmt::join(what, ", "));
}

std::string mend_of(const Facts& facts) {
  const auto& hierarchies = facts.cgroup.hierarchies;
  if (hierarchies.empty()) return "mount -t cgroup2 none /sys/fs/cgroup";
  for (const cgroup::Hierarchy& hierarchy : hierarchies) {
    if (hierarchy.own.empty()) return "start the container with --cgroupns=private";
  }
  for (const cgroup::Hierarchy& hierarchy : hierarchies) {
    if (hierarchy.version == cgroup::Version::v1) return unified;
  }
  return fmt::format("systemd-run {}--scope -p Delegate=yes -- sluice run ...",
                     facts.is_root() ? "" : "--user ");
}

}  // namespace

Finding judge_kernel(const Facts& facts) {
  Finding finding{"kernel", State::ok, {}, {}, Required::yes};
  const std::string unknown = names_of(facts.calls, ENOSYS);
  if (!unknown.empty()) {
    finding.state = State::missing;
    finding.means =
        fmt::format("Linux {} does not know {}: no sandbox can be made", facts.release, unknown);
    finding.mend =
        "boot Linux 5.15 or newer; in a container: an engine and a libseccomp that know these "
        "calls";
    return finding;
  }
  const std::string refused = names_of(facts.calls, EPERM);
  if (!refused.empty()) {
    finding.state = State::missing;
    finding.means =
        fmt::format("a filter around sluice refuses {}: no sandbox can be made", refused);
    finding.mend = no_filter_around;
    return finding;
  }
  if (version_of(facts.release) < oldest) {
    finding.state = State::limited;
    finding.means = fmt::format(
        "Linux {} knows every system call of sluice, and is older than 5.15", facts.release);
    finding.mend = "boot Linux 5.15 or newer";
    return finding;
  }
  finding.means =
      fmt::format("Linux {} knows every system call that a sandbox is made with", facts.release);
  return finding;
}

Finding judge_sluiced(const Facts& facts) {
  Finding finding{"sluiced", State::ok, {}, {}, Required::yes};
  if (facts.shared.end == End::failed) {
    finding.state = State::missing;
    finding.means = fmt::format("the shared sluiced does not answer: {}", facts.shared.what);
    finding.mend = "start it, or sluice run --proxy embedded";
  } else if (facts.shared.end == End::worked) {
    finding.means = "a shared sluiced answers: its policy decides for the agents of 'sluice run'";
  } else if (facts.has_sluiced) {
    finding.means = "no shared sluiced: each 'sluice run' starts one of its own";
  } else if (facts.sluiced.empty()) {
    finding.state = State::unknown;
    finding.means =
        "where sluice itself lies, and sluiced beside it, cannot be read (/proc/self/exe)";
  } else {
    finding.state = State::missing;
    finding.means = fmt::format("there is no proxy to start: no program '{}'", facts.sluiced);
    finding.mend = "install sluiced beside sluice";
  }
  return finding;
}

Finding judge_id_map(const Facts& facts) {
  Finding finding{"idmapped mounts", State::ok, {}, {}};
  if (!facts.is_root()) {
    finding.means = "not needed: an ordinary user's agent writes as that user";
  } else if (facts.id_map.end == End::worked) {
    finding.means =
        "the file system of the current directory can map owners: root's agents write as its owner";
  } else if (facts.id_map.end == End::failed && facts.id_map.error_number != 0) {
    finding.state = State::limited;
    finding.means = fmt::format(
        "the file system of the current directory cannot map owners ({}): it cannot be the "
        "workspace of root's agents",
        facts.id_map.what);
    finding.mend =
        "use a directory on ext4, xfs, btrfs, or tmpfs of Linux 6.3: sluice run --workspace DIR; "
        "or run as its owner";
  } else if (facts.id_map.end == End::failed) {
    finding.state = State::limited;
    finding.means = fmt::format(
        "root cannot map a directory's owner to an agent ({}): no directory can be its workspace",
        facts.id_map.what);
    finding.mend = "run sluice as an ordinary user";
  } else {
    finding.state = State::unknown;
    finding.means =
        "whether the current directory's file system can map owners was not answered in time";
  }
  return finding;
}

Finding judge_ipv6(const Facts& facts) {
  if (facts.has_ipv6) return {"IPv6", State::ok, "agents have IPv4 and IPv6", {}};
  return {
      "IPv6", State::limited,
      "this kernel has no IPv6: agents have IPv4 alone, and reach by name what the proxy can reach",
      "boot without ipv6.disable=1, or modprobe ipv6"};
}

Finding judge_subids(const Facts& facts) {
  Finding finding{"subordinate ids", State::ok, {}, {}};
  if (facts.is_root()) {
    finding.means = "not needed: root writes the id maps of its agents itself";
    return finding;
  }
  const SubidFact& subids = facts.subids;
  std::vector<std::string> mends;
  if (!subids.has_newuidmap || !subids.has_newgidmap) {
    mends.emplace_back("apt-get install uidmap");
  } else if (!subids.may_map) {
    mends.emplace_back("chmod u+s $(which newuidmap newgidmap)");
  }
  const bool is_short = std::min(subids.uids, subids.gids) < sub_id_count;
  const bool is_in_pieces = subids.may_map && !subids.is_usable;
  if (is_short || is_in_pieces) mends.push_back(give_subids(facts.user));
  if (subids.is_usable) {
    finding.means = fmt::format("the agent of an overlay is root of {} ids that are {}'s own",
                                sub_id_count + 1, facts.user);
    return finding;
  }
  finding.state = State::limited;
  finding.means =
      "the agent of an overlay (--root-mode overlay) is root of one id: changes of owner are "
      "answered and not made, and imported roots do not keep theirs";
  finding.mend = fmt::format("{}", fmt::join(mends, " && "));
  return finding;
}

Finding judge_overlays(const Facts& facts) {
  if (facts.has_user_attributes || (facts.is_root() && facts.has_trusted_attributes)) {
    return {
        "overlays",
        State::ok,
        "what an agent writes to an overlay (--root-mode overlay) lies in memory, and its cap is "
        "enforced",
        {}};
  }
  if (facts.is_root()) {
    return {
        "overlays", State::limited,
        "this kernel's tmpfs holds neither user nor, for this caller, trusted extended "
        "attributes: no agent can have an overlay (--root-mode overlay)",
        "boot Linux 6.6 or newer, or run sluice as an ordinary user or outside of the container"};
  }
  return {"overlays", State::limited,
          "this kernel's tmpfs has no user extended attributes: what an agent writes to an overlay "
          "(--root-mode overlay) lies on disk below $XDG_STATE_HOME, and its cap is watched, not "
          "enforced",
          "boot Linux 6.6 or newer"};
}

Finding judge_cgroups(const Facts& facts) {
  if (!facts.cgroup.readable) {
    return {
        "cgroups", State::unknown, "/proc/self/mountinfo or /proc/self/cgroup cannot be read", {}};
  }
  const cgroup::Place& place = facts.cgroup.place;
  const bool lacks_weights_alone =
      place.lacking.size() == 1 && place.lacking.contains(cgroup::Controller::io);
  if (place.lacking.empty() || lacks_weights_alone) {
    std::vector<std::string> below;
    below.reserve(place.grounds.size());
    for (const cgroup::Ground& ground : place.grounds)
      below.push_back(fmt::format("'{}'", ground.directory));
    return {
        "cgroups",
        State::ok,
        fmt::format("each agent's memory, processes and CPUs can be limited, in groups below {}{}",
                    fmt::join(below, ", "), lacks_weights_alone ? "; --io-weight is not kept" : ""),
        {}};
  }
  if (facts.cgroup.why_no_scope.empty()) {
    return {"cgroups",
            State::ok,
            "the limits that are asked for are kept in a scope that systemd is asked for; else an "
            "agent's processes alone are limited, by an rlimit",
            {}};
  }
  return {"cgroups", State::limited,
          fmt::format("{} ({})", instead_of(place.lacking), reasons_of(place.lacking)),
          mend_of(facts)};
}

std::vector<Finding> findings(const Facts& facts) {
  std::vector<Finding> all;
  for (const auto judge :
       {judge_kernel, judge_user_namespaces, judge_sandbox, judge_network, judge_seccomp,
        judge_sluiced, judge_ipv6, judge_id_map, judge_landlock, judge_exec_notices, judge_cgroups,
        judge_subids, judge_overlays, judge_vsock}) {
    all.push_back(judge(facts));
  }
  return all;
}

}  // namespace sluice::launcher::doctor
