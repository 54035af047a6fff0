#include "launcher/commands/run.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "launcher/cgroup/scope.h"
#include "launcher/choice.h"
#include "launcher/host_id.h"
#include "launcher/plan.h"
#include "launcher/plan_json.h"
#include "launcher/policy_sandbox.h"
#include "launcher/protection/protection.h"
#include "launcher/request.h"
#include "launcher/roots/changes.h"
#include "launcher/roots/choice.h"
#include "launcher/roots/disk_layer.h"
#include "launcher/roots/lesson.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/profile_filter.h"
#include "launcher/sandbox/seccomp.h"
#include "launcher/sessions/detach.h"
#include "launcher/sessions/run_socket.h"
#include "launcher/state_folder.h"
#include "launcher/supervisor.h"
#include "launcher/trust.h"
#include "launcher/writable_audit.h"
#include "netns/named/lease.h"

namespace sluice::launcher {
namespace {

constexpr int failed_status = 125;
constexpr const char* host_ids = "/run/sluice/uids";
constexpr const char* host_id_range_locks = "/run/sluice/uid-ranges";

void tell(std::string_view line) { fmt::print(stderr, "sluice: {}\n", line); }

// Everything that is known before anything is started.
struct Prepared {
  RunOptions options;  // as tight as the policy's `sandbox:`
  Machine machine;
  std::optional<std::string> shared;  // socket of a shared sluiced
  std::string workspace;
  cgroup::Place place;                // of the agent's control groups
  PolicyChoice policy;                // for an embedded one
  bool brought = false;               // the policy is the workspace's own
  std::string sandbox;                // what the policy says of it, as a sluiced tells it
  std::vector<std::string> protects;  // of the workspace, besides: what the policy says
  Plan plan;
  Protection protection;
  std::vector<FilterProgram> filters;
  std::vector<std::string> notices;
};

Errors only(Error error) { return {std::move(error)}; }

bool shared_proxy_exists() {
  struct stat status {};
  return ::stat(shared_socket, &status) == 0;
}

std::string no_policy_notice(const RunOptions& options, const Prepared& prepared) {
  std::string places;
  for (const std::string& path : policy_search_path(prepared.machine)) {
    places += (places.empty() ? "" : " and ") + path;
  }
  return fmt::format("no policy: nothing {}is allowed (looked for {})",
                     options.allow.empty() ? "" : "but what --allow names ",
                     text::printable(places));
}

void notice_unless_empty(std::string notice, Prepared& prepared) {
  if (!notice.empty()) prepared.notices.push_back(std::move(notice));
}

tl::expected<PolicyChoice, Errors> find_policy(const RunOptions& options, Prepared& prepared) {
  if (options.policy) {
    notice_unless_empty(ignored_workspace_policy(prepared.workspace, "--policy names another"),
                        prepared);
    return choose_policy(options, prepared.machine);
  }
  const TrustStore store(state_directory(prepared.machine));
  auto brought = judge_workspace_policy(prepared.workspace, store);
  if (!brought) return tl::unexpected(only(brought.error()));
  if (!*brought) return choose_policy(options, prepared.machine);
  const std::string path = prepared.workspace + "/" + workspace_policy_name;
  prepared.brought = true;
  prepared.notices.push_back(
      fmt::format("the policy is '{}', as you trusted it", text::printable(path)));
  return policy_from(path, {std::move(**brought)});
}

tl::expected<void, Errors> add_policy(const RunOptions& options, Prepared& prepared) {
  if (prepared.shared) {
    const std::string who = fmt::format("the sluiced at '{}'", text::printable(*prepared.shared));
    prepared.notices.push_back(who + " decides");
    notice_unless_empty(ignored_workspace_policy(prepared.workspace, who + " decides"), prepared);
    return {};
  }
  auto policy = find_policy(options, prepared);
  if (!policy) return tl::unexpected(policy.error());
  prepared.policy = std::move(*policy);
  if (prepared.policy.path.empty()) prepared.notices.push_back(no_policy_notice(options, prepared));
  return {};
}

tl::expected<void, Errors> add_amendment(const RunOptions& options, const std::string& agent,
                                         Prepared& prepared) {
  if (prepared.shared) return {};
  if (auto done = amend_policy(options, agent, prepared.policy); !done) return done;
  for (const Error& warning : prepared.policy.warnings)
    prepared.notices.push_back(to_string(warning));
  for (std::string& notice : policy_notices(options, agent, prepared.policy))
    prepared.notices.push_back(std::move(notice));
  return {};
}

// What the policy says of the agent's sandbox, before anything is planned.
tl::expected<void, Errors> add_sandbox(const std::string& agent, Prepared& prepared) {
  allowlists::Sandbox sandbox;
  if (prepared.shared) {
    auto asked = netns::ask_sandbox(*prepared.shared, agent).and_then([](const std::string& text) {
      return allowlists::sandbox_from_json(text);
    });
    if (!asked) return tl::unexpected(only(asked.error()));
    sandbox = std::move(*asked);
  } else {
    sandbox = prepared.policy.policy->for_agent(agent).sandbox();
  }
  prepared.sandbox = to_json(sandbox);
  prepared.protects = sandbox.protects;
  if (auto done = tighten(prepared.options, sandbox, prepared.machine); !done) {
    return tl::unexpected(only(done.error()));
  }
  return {};
}

Result<void> check_landlock(Prepared& prepared) {
  const int abi = landlock_abi();
  std::string notice = landlock_notice(abi);
  if (prepared.options.require_landlock && abi < first_useful_landlock) {
    return fail(Errc::not_permitted,
                notice.empty() ? "it cannot be found out whether this kernel has Landlock" : notice,
                "--require-landlock, or 'require_landlock' of the policy, asks for it; 'sluice "
                "doctor' says what is missing");
  }
  notice_unless_empty(std::move(notice), prepared);
  return {};
}

tl::expected<void, Errors> add_plan(Prepared& prepared) {
  const RunOptions& options = prepared.options;
  const auto agent =
      choose_agent(options, prepared.machine, prepared.shared ? nullptr : &prepared.policy);
  if (!agent) return tl::unexpected(only(agent.error()));
  if (auto done = add_amendment(options, *agent, prepared); !done) return done;
  if (auto done = add_sandbox(*agent, prepared); !done) return done;
  RequestInput input{options, *agent};
  // The workspace's own was read and is not read again: the agent may write it.
  if (!prepared.brought) input.policy_path = prepared.policy.path;
  const std::string state = state_directory(prepared.machine);
  input.trust_directory = TrustStore(state).directory();
  input.placeholder_directory = placeholder_directory(state);
  input.policy_search_path = policy_search_path(prepared.machine);
  const RootStore roots(roots_directory(prepared.machine));
  const auto root = choose_root(options, prepared.machine, roots);
  if (!root) return tl::unexpected(only(root.error()));
  input.root = *root;
  input.roots_directory = roots.directory();
  auto request = make_request(input);
  if (!request) return tl::unexpected(only(request.error()));
  auto place = cgroup::find_or_ask_place(options.limits);
  if (!place) return tl::unexpected(only(place.error()));
  prepared.place = std::move(*place);
  request->means = cgroup::choose_means(options.limits, prepared.place);
  notice_unless_empty(request->means.notice, prepared);
  auto plan = make_plan(*request, prepared.machine);
  if (!plan) return tl::unexpected(only(plan.error()));
  for (std::string& notice : writable_notices(*request, *plan))
    prepared.notices.push_back(std::move(notice));
  prepared.plan = std::move(*plan);
  auto protection = Protection::find(prepared.plan, prepared.machine, prepared.protects,
                                     IsForShow(options.dry_run));
  if (!protection) return tl::unexpected(only(protection.error()));
  prepared.protection = std::move(*protection);
  notice_unless_empty(root_notice(prepared.plan.root), prepared);
  return {};
}

FilterFor filter_for(const Root& root) {
  if (!root.is_overlay()) return FilterFor::agent;
  return root.has_id_range ? FilterFor::root_of_a_range : FilterFor::root_of_one_id;
}

// Both before anything starts, so that a profile is refused in time.
tl::expected<void, Errors> add_filters(const RunOptions& options, Prepared& prepared) {
  const bool overlay = prepared.plan.root.is_overlay();
  auto own = compile_filter(filter_for(prepared.plan.root),
                            HoldsBackExec(overlay && prepared.plan.log_exec));
  if (!own) return tl::unexpected(only(own.error()));
  prepared.filters.push_back(std::move(*own));
  if (!options.seccomp) return {};
  auto profile = read_profile(*options.seccomp);
  if (!profile) return tl::unexpected(only(profile.error()));
  notice_unless_empty(unknown_names_notice(profile->unknown), prepared);
  prepared.filters.push_back(std::move(profile->program));
  return {};
}

tl::expected<Prepared, Errors> prepare(const RunOptions& options) {
  Prepared prepared;
  prepared.options = options;
  auto machine = survey_machine();
  if (!machine) return tl::unexpected(only(machine.error()));
  prepared.machine = std::move(*machine);
  const auto shared = choose_proxy(options, SharedExists(shared_proxy_exists()));
  if (!shared) return tl::unexpected(only(shared.error()));
  prepared.shared = *shared;
  auto workspace = resolve_workspace(options);
  if (!workspace) return tl::unexpected(only(workspace.error()));
  prepared.workspace = std::move(*workspace);
  if (auto added = add_policy(options, prepared); !added) return tl::unexpected(added.error());
  if (auto added = add_plan(prepared); !added) return tl::unexpected(added.error());
  if (auto added = add_filters(options, prepared); !added) return tl::unexpected(added.error());
  if (auto fine = check_landlock(prepared); !fine) return tl::unexpected(only(fine.error()));
  return prepared;
}

Result<Fd> open_audit(const std::string& path) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
  if (!file) {
    return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", text::printable(path)),
                      "name a file that you may write");
  }
  return file;
}

// From a directory's descriptor every path above it can be reached (openat(2)), whatever is
// mounted.
Result<void> refuse_directories() {
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    struct stat status {};
    if (::fstat(standard, &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    return fail(Errc::bad_config, fmt::format("descriptor {} is a directory", standard),
                "it would lead the agent out of its sandbox: use a file, a pipe or /dev/null");
  }
  return {};
}

// What must outlive the run: names, ids and files that are held while it lasts.
struct Held {
  std::optional<HostId> agent_id;
  std::optional<HostId> proxy_id;
  std::optional<RunSocket> control;
  std::optional<RunSocket> admin;
  std::optional<cgroup::Group> group;
  Fd audit;
  Fd root;     // an imported one, so that it is not deleted
  Fd changes;  // where they are kept
  std::optional<DiskLayer> layer;
};

Result<void> hold_layer(const Prepared& prepared, Held& held) {
  if (!prepared.plan.root.is_on_disk()) return {};
  auto layer = DiskLayer::make(state_directory(prepared.machine));
  if (!layer) return Failure(layer.error());
  for (const std::string& notice : layer->notices()) tell(notice);
  held.layer.emplace(std::move(*layer));
  return {};
}

Result<void> hold_root(const RunOptions& options, const Prepared& prepared, Held& held) {
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

Result<Held> hold(const RunOptions& options, const Prepared& prepared) {
  Held held;
  auto group = cgroup::Group::make(prepared.place, prepared.plan.means.group);
  if (!group) return Failure(group.error());
  held.group.emplace(std::move(*group));
  if (const std::string unkept = held.group->unkept(); !unkept.empty() && !options.quiet) {
    tell(unkept);
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
  auto admin = RunSocket::listen(directory, prepared.plan.agent, admin_suffix);
  if (!admin) return Failure(admin.error());
  held.admin.emplace(std::move(*admin));
  if (!options.audit) return held;
  auto audit = open_audit(*options.audit);
  if (!audit) return Failure(audit.error());
  held.audit = std::move(*audit);
  return held;
}

ProxyChoice proxy_of(const Prepared& prepared, const Held& held) {
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

// What a run changes of its policy, for --dry-run.
std::string describe_policy(const PolicyChoice& policy) {
  std::string text;
  int number = 0;
  for (const std::string& allow : policy.amendment.allow) {
    text += fmt::format("policy: allow {} as well (flag:{})\n", text::printable(allow), ++number);
  }
  if (policy.amendment.mode) text += "policy: report instead of blocking\n";
  return text;
}

void add_probes(Purpose purpose, Prepared& prepared) {
  prepared.plan.proves = purpose == Purpose::proof;
  if (prepared.plan.proves) {
    prepared.plan.outside = look_outside(prepared.machine);
  } else {
    prepared.plan.outside.namespaces = own_namespaces();
  }
}

int complain(const Errors& errors) {
  for (const Error& error : errors) {
    // A located error reads as compilers write it, so that editors can jump to it.
    fmt::print(stderr, "{}{}\n", error.where ? "" : "sluice: ", to_string(error));
  }
  return failed_status;
}

int print_plan(const RunOptions& options, const Prepared& prepared) {
  if (options.json) {
    const PolicyChoice& policy = prepared.policy;
    fmt::print("{}", to_json(prepared.plan,
                             {prepared.shared, policy.path, options.allow, options.report}));
  } else {
    fmt::print("{}{}", describe_policy(prepared.policy), describe(prepared.plan));
  }
  return 0;
}

RunStatus status_of(const RunOptions& options, const Prepared& prepared) {
  RunStatus status;
  status.agent = prepared.plan.agent;
  status.since = now_ms();
  status.workspace = prepared.plan.workspace;
  status.policy = prepared.policy.path;
  status.shared = prepared.shared.value_or("");
  status.is_detached = options.detach;
  set_command(status, prepared.plan.command);
  return status;
}

// The JSON is the last line of standard output, whatever the agent left there.
Result<void> tell_what_was_learnt(const RunOptions& options, const Plan& plan, int changes,
                                  int status) {
  auto advice = learn(changes, plan.root);
  if (!advice) return Failure(advice.error());
  const Lesson lesson{plan.command, status, std::move(*advice)};
  if (options.json) return write_all(STDOUT_FILENO, "stdout", "\n" + to_json(lesson) + "\n");
  for (const std::string& line : in_lines(lesson)) {
    if (line.starts_with(' ')) {
      fmt::print(stderr, "{}\n", line);
    } else {
      tell(line);
    }
  }
  return {};
}

// `started`: see SupervisorOrder.
int hold_and_supervise(const RunOptions& options, Prepared& prepared, int started) {
  auto held = hold(options, prepared);
  if (!held) return complain({held.error()});
  // Ends here, also in a process that returns to nobody: what stands in is removed then.
  Protection protection = std::move(prepared.protection);
  auto stands = protection.stand_in(prepared.plan);
  if (!stands) return complain({stands.error()});
  SupervisorOrder order;
  order.proxy = proxy_of(prepared, *held);
  order.plan = prepared.plan;
  if (held->layer) order.plan.root.layers = held->layer->path();
  order.filters = std::move(prepared.filters);
  if (held->agent_id) order.host_id = held->agent_id->value();
  order.group.emplace(std::move(*held->group));
  order.sandbox = prepared.sandbox;
  order.keep_changes = held->changes.get();
  if (options.learn_writes) {
    order.learn = [&](int changes, int ended) {
      return tell_what_was_learnt(options, prepared.plan, changes, ended);
    };
  }
  order.timeout = prepared.options.timeout;
  order.quiet = Quiet(options.quiet || prepared.plan.proves);
  order.status = status_of(options, prepared);
  order.status.pid = ::getpid();
  order.door = held->control->fd();
  order.started = started;
  const int status = supervise(std::move(order));
  if (held->layer) {
    if (auto removed = held->layer->remove(); !removed) tell(to_string(removed.error()));
  }
  // Also to whoever asked for quiet: nobody else says it.
  if (!prepared.plan.proves) {
    for (const std::string& change : protection.changes()) tell(change);
  }
  return status;
}

}  // namespace

int run(const RunOptions& options, Purpose purpose) {
  if (options.detach) {
    // A lock or a pipe of the person's shell would be held for as long as the run lasts.
    if (auto closed = close_all_but({}); !closed) return complain({closed.error()});
  }
  auto prepared = prepare(options);
  if (!prepared) return complain(prepared.error());
  if (!options.quiet) {
    for (const std::string& notice : prepared->notices) tell(notice);
  }
  for (const std::string& notice : prepared->protection.notices()) tell(notice);
  add_probes(purpose, *prepared);
  if (options.dry_run) return print_plan(options, *prepared);
  if (auto fine = refuse_directories(); !fine) return complain({fine.error()});
  if (!options.detach) return hold_and_supervise(options, *prepared, -1);
  return detach({state_directory(prepared->machine), status_of(options, *prepared),
                 [&] { prepared->protection = Protection(); }},
                [&](int started) { return hold_and_supervise(options, *prepared, started); });
}

}  // namespace sluice::launcher
