#include "launcher/plan/plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/plan/masks.h"
#include "launcher/plan/refusals.h"
#include "launcher/plan/seeds.h"
#include "launcher/sandbox/environment.h"
#include "launcher/sandbox/steps.h"

namespace sluice::launcher {
namespace {

// A root caller's agent is a stranger's host id; inside it is the first ordinary one.
constexpr uid_t id_of_a_root_callers_agent = 1000;
constexpr std::uint64_t run_bytes = std::uint64_t{16} * 1024 * 1024;

Mount tmpfs(std::string path, std::uint64_t bytes, mode_t mode) {
  Mount mount;
  mount.path = std::move(path);
  mount.bytes = bytes;
  mount.mode = mode;
  return mount;
}

Mount if_present(Mount mount) {
  mount.required = false;
  return mount;
}

Mount shadow(std::string path) {
  Mount mount;
  mount.kind = Mount::Kind::shadow;
  mount.path = std::move(path);
  mount.required = false;
  return mount;
}

Mount seeded(const Seed& seed) {
  Mount mount = tmpfs(seed.path, seed.bytes, 0700);
  mount.kind = Mount::Kind::seed;
  mount.source = seed.source;
  return mount;
}

std::vector<Mount> default_mounts(const Root& root, const Machine& machine) {
  std::vector<Mount> mounts{if_present(tmpfs("/tmp", default_tmpfs_bytes, 01777)),
                            if_present(tmpfs("/var/tmp", default_tmpfs_bytes, 01777)),
                            if_present(tmpfs("/dev/shm", default_tmpfs_bytes, 01777)),
                            tmpfs("/run", run_bytes, 0755),
                            tmpfs(machine.home, default_tmpfs_bytes, 0700)};
  // An overlay of a root that is not the host's shows nobody's homes: they are for its own use.
  if (root.is_host() || !root.is_overlay()) {
    mounts.insert(mounts.begin(), {shadow("/home"), shadow("/root")});
  }
  // Of the host's the agent is root, who makes users (useradd -m).
  if (root.is_host() && root.is_overlay()) {
    mounts.front() = if_present(tmpfs("/home", default_tmpfs_bytes, 0755));
  }
  return mounts;
}

// A later mount takes the place of an earlier one at the same path.
void put(std::vector<Mount>& mounts, Mount mount) {
  const auto same = std::find_if(mounts.begin(), mounts.end(),
                                 [&](const Mount& other) { return other.path == mount.path; });
  if (same == mounts.end()) {
    mounts.push_back(std::move(mount));
    return;
  }
  if (mount.kind == Mount::Kind::tmpfs && same->kind == Mount::Kind::tmpfs) mount.mode = same->mode;
  *same = std::move(mount);
}

std::vector<Mount> all_mounts(const RunRequest& request, const Machine& machine) {
  std::vector<Mount> mounts;
  for (Mount& mount : default_mounts(request.root, machine)) put(mounts, std::move(mount));
  for (const TmpfsOption& option : request.tmpfs)
    put(mounts, tmpfs(option.path, option.bytes, 0755));
  for (const Seed& seed : request.seeds) put(mounts, seeded(seed));
  for (const Bind& bind : all_binds(request)) {
    Mount mount;
    mount.kind = Mount::Kind::bind;
    mount.path = bind.destination;
    mount.source = bind.source;
    mount.access = bind.access;
    put(mounts, std::move(mount));
  }
  // By component, so that a parent comes before its children whatever byte follows its name.
  std::sort(mounts.begin(), mounts.end(), [](const Mount& a, const Mount& b) {
    return std::filesystem::path(a.path) < std::filesystem::path(b.path);
  });
  return mounts;
}

// apt drops its own rights by setgroups(2) and setresuid(2), which change nothing where there is
// one id, and then looks whether they did.
OwnFile apt_without_other_ids() {
  return {"/etc/apt/apt.conf.d/99sluice", "APT::Sandbox::User \"root\";\n", true};
}

// One of each account, with which nobody logs in; su(1) refuses who is not there, also to root.
std::string accounts_with(const std::vector<std::string>& names, std::string_view rest) {
  std::string lines = fmt::format("root:{}\n", rest);
  for (const std::string& name : names) {
    if (name != "root") lines += fmt::format("{}:{}\n", name, rest);
  }
  return lines;
}

std::vector<OwnFile> own_files(const Plan& plan, const Machine& machine) {
  const auto passwd_line = [&](std::string_view name, uid_t uid, gid_t gid, std::string_view home) {
    return fmt::format("{}:x:{}:{}::{}:/bin/sh\n", name, uid, gid, home);
  };
  std::string passwd = passwd_line(plan.user, plan.inside_uid, plan.inside_gid, plan.home);
  std::string group = fmt::format("{}:x:{}:\n", plan.user, plan.inside_gid);
  passwd += passwd_line("root", 0, 0, "/root");
  group += "root:x:0:\n";
  if (plan.inside_uid != 65534) passwd += passwd_line("nobody", 65534, 65534, "/nonexistent");
  if (plan.inside_gid != 65534) group += "nogroup:x:65534:\n";
  std::vector<OwnFile> files{
      {"/etc/hosts", fmt::format("127.0.0.1 localhost {0}\n::1 localhost {0}\n", plan.agent)},
      {"/etc/hostname", plan.agent + "\n"},
      // Any address would do: whatever is asked lands on the proxy's socket.
      {"/etc/resolv.conf", "nameserver 127.0.0.1\n"},
      {"/etc/nsswitch.conf",
       "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
       "protocols: files\nservices: files\nethers: files\nrpc: files\n"}};
  if (!plan.root.is_overlay()) {
    files.push_back({"/etc/passwd", passwd});
    files.push_back({"/etc/group", group});
  } else if (!plan.root.has_id_range) {
    files.push_back(apt_without_other_ids());
  }
  // The machine's own are not for the agent, and adduser(8) wants some.
  if (plan.root.is_overlay() && plan.root.is_host()) {
    files.push_back({"/etc/shadow", accounts_with(machine.users, "*:19000:0:99999:7:::")});
    files.push_back({"/etc/gshadow", accounts_with(machine.groups, "*::")});
  }
  return files;
}

// Masks are looked for in the root as in any other bind.
std::vector<Mount> with_root(const Plan& plan) {
  std::vector<Mount> mounts = plan.mounts;
  if (plan.root.is_host()) return mounts;
  Mount root;
  root.kind = Mount::Kind::bind;
  root.path = "/";
  root.source = plan.root.source;
  root.access = Access::read_only;
  mounts.insert(mounts.begin(), std::move(root));
  return mounts;
}

std::string describe(const Root& root) {
  std::string what = "the host's root";
  if (!root.is_host()) what = fmt::format("{} as the root", text::printable(root.source));
  if (!root.is_overlay()) {
    return fmt::format("mount {} read-only, without setuid and devices", what);
  }
  if (root.is_host()) what += ", without what others may not read,";
  if (root.is_on_disk()) {
    return fmt::format(
        "mount {} below a writable directory in {}, gone at the end, without setuid and devices; "
        "its cap of {} bytes is watched, not enforced: this kernel has no tmpfs with user extended "
        "attributes",
        what, text::printable(root.layers), root.bytes);
  }
  return fmt::format(
      "mount {} below a writable tmpfs of at most {} bytes, without setuid and devices{}", what,
      root.bytes, root.upper == Root::Upper::trusted_memory ? ", by root of the machine" : "");
}

std::string describe_seed(const Mount& seed) {
  std::string text =
      fmt::format("copy {} into a writable tmpfs of at most {} bytes on {}",
                  text::printable(seed.source), seed.bytes, text::printable(seed.path));
  std::string_view before = ", without ";
  for (const std::string& name : seed.without) {
    text += fmt::format("{}{}/{}", before, text::printable(seed.source), text::printable(name));
    before = ", ";
  }
  return text;
}

std::string describe(const Mount& mount) {
  switch (mount.kind) {
    case Mount::Kind::tmpfs:
      return fmt::format("mount an empty tmpfs of at most {} bytes on {}", mount.bytes,
                         text::printable(mount.path));
    case Mount::Kind::shadow:
      return fmt::format("hide {} behind an empty read-only tmpfs", text::printable(mount.path));
    case Mount::Kind::seed:
      return describe_seed(mount);
    case Mount::Kind::bind:
      break;
  }
  return fmt::format("mount {} on {}, {}", text::printable(mount.source),
                     text::printable(mount.path),
                     mount.access == Access::read_write ? "read-write" : "read-only");
}

std::string describe(const Mount& bind, const Shield& shield) {
  const std::string path = text::printable(bind.path + "/" + shield.path);
  if (shield.access == Access::read_write) return fmt::format("keep {} where it is", path);
  return fmt::format("keep {} read-only: {}", path, shield.reason);
}

// What the root is made of, in order.
std::vector<std::string> describe_root(const Plan& plan) {
  std::vector<std::string> parts;
  for (const Mount& mount : plan.mounts) {
    parts.push_back(describe(mount));
    for (const Shield& shield : mount.shields) parts.push_back(describe(mount, shield));
  }
  for (const OwnFile& file : plan.files) parts.push_back("replace " + file.path);
  for (const std::string& mask : plan.masks) {
    parts.push_back("hide " + text::printable(mask) + " where it exists");
  }
  return parts;
}

std::string sentence_of(const StepInfo& step, const Root& root) {
  if (step.step == Step::root && !root.is_hosts_as_it_is()) {
    return describe(root) + ", with new /proc, /sys and /dev";
  }
  if (step.step == Step::nested_namespace && root.is_overlay()) {
    return "enter a nested user namespace";
  }
  if (step.step == Step::capabilities && root.is_overlay()) {
    return "drop every capability but a few over its own files";
  }
  return step.does;
}

std::string describe_command(const Plan& plan) {
  std::string run = "run";
  for (const std::string& word : plan.command) run += " " + text::printable(word);
  return run;
}

}  // namespace

bool has_source(const Mount& mount) noexcept {
  return mount.kind == Mount::Kind::bind || mount.kind == Mount::Kind::seed;
}

Result<Plan> make_plan(const RunRequest& request, const Machine& machine) {
  if (auto fine = refuse_dangerous(request, machine); !fine) return Failure(fine.error());
  Plan plan;
  plan.agent = request.agent;
  plan.workspace = request.workspace;
  plan.home = machine.home;
  plan.root = request.root;
  plan.user = machine.is_root() ? "agent" : machine.user;
  plan.inside_uid = machine.is_root() ? id_of_a_root_callers_agent : machine.uid;
  plan.inside_gid = machine.is_root() ? id_of_a_root_callers_agent : machine.gid;
  if (plan.root.is_overlay()) {
    plan.user = "root";
    plan.inside_uid = 0;
    plan.inside_gid = 0;
  }
  plan.umask = machine.umask;
  plan.mounts = all_mounts(request, machine);
  plan.files = own_files(plan, machine);
  leave_out_of_seeds(request, machine, plan.mounts);
  plan.masks = find_masks(request, machine, with_root(plan));
  plan.seccomp = request.seccomp;
  plan.environment = agent_environment({.home = plan.home,
                                        .user = plan.user,
                                        .inherited = machine.environment,
                                        .assignments = request.environment,
                                        .passed = request.pass_environment});
  plan.means = request.means;
  plan.command = request.command;
  plan.log_exec = request.log_exec;
  return plan;
}

std::string describe(const Plan& plan) {
  std::string text = fmt::format("agent {} as {} ({}:{}), workspace {}\n", plan.agent, plan.user,
                                 plan.inside_uid, plan.inside_gid, text::printable(plan.workspace));
  std::size_t number = 0;
  for (const StepInfo& step : all_steps) {
    text += fmt::format("{:>3}. {}: {}\n", ++number, step.name, sentence_of(step, plan.root));
    std::vector<std::string> parts;
    if (step.step == Step::root) parts = describe_root(plan);
    if (step.step == Step::control_groups) parts = plan.means.steps;
    if (step.step == Step::exec_log && plan.log_exec) {
      parts = {"every program that the agent starts is an audit line"};
    }
    if (step.step == Step::filter && !plan.seccomp.empty())
      parts = {"and the profile " + text::printable(plan.seccomp)};
    for (const std::string& part : parts) text += fmt::format("     - {}\n", part);
  }
  if (!plan.proves) text += fmt::format("{:>3}. {}\n", ++number, describe_command(plan));
  return text;
}

}  // namespace sluice::launcher
