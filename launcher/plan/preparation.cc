#include "launcher/plan/preparation.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include "base/text.h"
#include "launcher/cgroup/scope.h"
#include "launcher/plan/policy_sandbox.h"
#include "launcher/plan/request.h"
#include "launcher/plan/writable_audit.h"
#include "launcher/roots/choice.h"
#include "launcher/roots/store.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/profile_filter.h"
#include "launcher/state_folder.h"
#include "launcher/trust.h"
#include "netns/named/lease.h"

namespace sluice::launcher {
namespace {

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
    if (!asked) {
      Error why = asked.error();
      if (why.code == Errc::not_permitted) {
        why.hint =
            "'handover: peers' of its configuration says who may; --proxy embedded runs it with a "
            "proxy and a policy of your own";
      }
      return tl::unexpected(only(std::move(why)));
    }
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

}  // namespace

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

}  // namespace sluice::launcher
