#include "launcher/plan/holdings.h"

#include <fcntl.h>
#include <fmt/core.h>

#include "base/text.h"
#include "launcher/roots/changes.h"
#include "launcher/roots/store.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

constexpr const char* host_ids = "/run/sluice/uids";
constexpr const char* host_id_range_locks = "/run/sluice/uid-ranges";

Result<Fd> open_audit(const std::string& path) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
  if (!file) {
    return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", text::printable(path)),
                      "name a file that you may write");
  }
  return file;
}

Result<void> hold_root(const RunOptions& options, const Prepared& prepared, Holdings& held) {
  if (const std::string& name = prepared.plan.root.name; !name.empty()) {
    auto root = RootStore(roots_directory(prepared.machine)).hold(name);
    if (!root) return Failure(root.error());
    held.root = std::move(*root);
  }
  if (!options.keep_changes) return {};
  auto changes = open_for_changes(*options.keep_changes);
  if (!changes) return Failure(changes.error());
  held.changes = std::move(*changes);
  return {};
}

Result<void> hold_layer(const Prepared& prepared, Holdings& held) {
  if (!prepared.plan.root.is_on_disk()) return {};
  auto layer = DiskLayer::make(state_directory(prepared.machine));
  if (!layer) return Failure(layer.error());
  for (const std::string& notice : layer->notices()) fmt::print(stderr, "sluice: {}\n", notice);
  held.layer.emplace(std::move(*layer));
  return {};
}

}  // namespace

Result<Holdings> hold(const RunOptions& options, const Prepared& prepared,
                      const std::vector<pid_t>& company) {
  Holdings held;
  auto group = cgroup::Group::make(prepared.place, prepared.plan.means.group, company);
  if (!group) return Failure(group.error());
  held.group.emplace(std::move(*group));
  if (const std::string unkept = held.group->unkept(); !unkept.empty() && !options.quiet) {
    fmt::print(stderr, "sluice: {}\n", unkept);
  }
  if (auto done = hold_root(options, prepared, held); !done) return Failure(done.error());
  if (auto done = hold_layer(prepared, held); !done) return Failure(done.error());
  if (prepared.machine.is_root()) {
    auto agent = prepared.plan.root.has_id_range
                     ? HostId::claim(host_id_range_locks, host_id_ranges)
                     : HostId::claim(host_ids);
    if (!agent) return Failure(agent.error());
    held.agent_id = std::move(*agent);
  }
  const std::string& directory = prepared.machine.runtime_directory;
  auto control = RunSocket::listen(directory, prepared.plan.agent, control_suffix);
  if (!control) return Failure(control.error());
  held.control.emplace(std::move(*control));
  if (prepared.shared) return held;
  if (prepared.machine.is_root()) {
    auto proxy = HostId::claim(host_ids);
    if (!proxy) return Failure(proxy.error());
    held.proxy_id = std::move(*proxy);
  }
  // Nobody supervises that name any more: what still listens is the sluiced of a run that was
  // killed, which ends now.
  constexpr std::chrono::seconds ending{2};
  auto admin = RunSocket::listen(directory, prepared.plan.agent, admin_suffix, ending);
  if (!admin) return Failure(admin.error());
  held.admin.emplace(std::move(*admin));
  if (!options.audit) return held;
  auto audit = open_audit(*options.audit);
  if (!audit) return Failure(audit.error());
  held.audit = std::move(*audit);
  return held;
}

ProxyChoice proxy_of(const Prepared& prepared, const Holdings& held) {
  if (prepared.shared) return SharedProxy{*prepared.shared};
  ProxyStart start;
  start.program = prepared.machine.program_directory + "/sluiced";
  start.policy = prepared.policy.sources;
  start.amendment = prepared.policy.amendment;
  start.admin = held.admin->fd();
  start.audit = held.audit.get();
  if (held.proxy_id) start.as_uid = held.proxy_id->value();
  return start;
}

}  // namespace sluice::launcher
