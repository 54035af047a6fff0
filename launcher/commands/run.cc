#include "launcher/commands/run.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "launcher/admin_socket.h"
#include "launcher/choice.h"
#include "launcher/host_id.h"
#include "launcher/plan.h"
#include "launcher/request.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/seccomp.h"
#include "launcher/supervisor.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

constexpr int failed_status = 125;
constexpr const char* host_ids = "/run/sluice/uids";

void tell(std::string_view line) { fmt::print(stderr, "sluice: {}\n", line); }

// Everything that is known before anything is started.
struct Prepared {
  Machine machine;
  std::optional<std::string> shared;  // socket of a shared sluiced
  std::string workspace;
  PolicyChoice policy;   // for an embedded one
  bool brought = false;  // the policy is the workspace's own
  Plan plan;
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

tl::expected<void, Errors> add_plan(const RunOptions& options, Prepared& prepared) {
  const auto agent =
      choose_agent(options, prepared.machine, prepared.shared ? nullptr : &prepared.policy);
  if (!agent) return tl::unexpected(only(agent.error()));
  if (auto done = add_amendment(options, *agent, prepared); !done) return done;
  RequestInput input{options, *agent};
  // The workspace's own was read and is not read again: the agent may write it.
  if (!prepared.brought) input.policy_path = prepared.policy.path;
  input.trust_directory = TrustStore(state_directory(prepared.machine)).directory();
  input.policy_search_path = policy_search_path(prepared.machine);
  const auto request = make_request(input);
  if (!request) return tl::unexpected(only(request.error()));
  auto plan = make_plan(*request, prepared.machine);
  if (!plan) return tl::unexpected(only(plan.error()));
  prepared.plan = std::move(*plan);
  return {};
}

tl::expected<Prepared, Errors> prepare(const RunOptions& options) {
  Prepared prepared;
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
  if (auto added = add_plan(options, prepared); !added) return tl::unexpected(added.error());
  notice_unless_empty(landlock_notice(landlock_abi()), prepared);
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
  std::optional<AdminSocket> admin;
  Fd audit;
};

Result<Held> hold(const RunOptions& options, const Prepared& prepared) {
  Held held;
  if (prepared.machine.is_root()) {
    auto agent = HostId::claim(host_ids);
    if (!agent) return Failure(agent.error());
    held.agent_id = std::move(*agent);
  }
  if (prepared.shared) return held;
  if (prepared.machine.is_root()) {
    auto proxy = HostId::claim(host_ids);
    if (!proxy) return Failure(proxy.error());
    held.proxy_id = std::move(*proxy);
  }
  auto admin = AdminSocket::listen(prepared.machine.runtime_directory, prepared.plan.agent);
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

}  // namespace

int run(const RunOptions& options, Purpose purpose) {
  auto prepared = prepare(options);
  if (!prepared) return complain(prepared.error());
  if (!options.quiet) {
    for (const std::string& notice : prepared->notices) tell(notice);
  }
  add_probes(purpose, *prepared);
  if (options.dry_run) {
    fmt::print("{}{}", describe_policy(prepared->policy), describe(prepared->plan));
    return 0;
  }
  if (auto fine = refuse_directories(); !fine) return complain({fine.error()});
  auto filter = compile_filter();
  if (!filter) return complain({filter.error()});
  const auto held = hold(options, *prepared);
  if (!held) return complain({held.error()});
  SupervisorOrder order;
  order.proxy = proxy_of(*prepared, *held);
  order.plan = std::move(prepared->plan);
  order.filter = std::move(*filter);
  if (held->agent_id) order.host_id = held->agent_id->value();
  order.timeout = options.timeout;
  order.quiet = Quiet(options.quiet || purpose == Purpose::proof);
  return supervise(std::move(order));
}

}  // namespace sluice::launcher
