#include "launcher/commands/run.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <exception>

#include "base/io.h"
#include "base/text.h"
#include "launcher/plan/holdings.h"
#include "launcher/plan/plan_json.h"
#include "launcher/plan/preparation.h"
#include "launcher/roots/lesson.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sessions/detach.h"
#include "launcher/sessions/tty_front.h"
#include "launcher/state_folder.h"
#include "launcher/supervision/supervisor.h"

namespace sluice::launcher {
namespace {

void tell(std::string_view line) { fmt::print(stderr, "sluice: {}\n", line); }

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
  return sluice_failed;
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

// What is thrown must not keep a person from hearing what the run planted.
int supervise_or_say_why(SupervisorOrder order) {
  try {
    return supervise(std::move(order));
  } catch (const std::exception& bug) {
    return complain({{Errc::bug, bug.what(), "this is a bug, please report it", {}}});
  }
}

int hold_and_supervise(const RunOptions& options, Prepared& prepared, const Detached& detached) {
  auto held = hold(options, prepared, detached.company);
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
  order.started = detached.started;
  const int status = supervise_or_say_why(std::move(order));
  if (held->layer) {
    if (auto removed = held->layer->remove(); !removed) tell(to_string(removed.error()));
  }
  // Also to whoever asked for quiet: nobody else says it.
  if (!prepared.plan.proves) protection.tell_changes(tell);
  return status;
}

Detached in_front_of(pid_t front) {
  Detached detached;
  if (front != 0) detached.company = {front};
  return detached;
}

int run_here(const RunOptions& options, Purpose purpose, pid_t front) {
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
  if (!options.detach) return hold_and_supervise(options, *prepared, in_front_of(front));
  return detach(
      {state_directory(prepared->machine), status_of(options, *prepared),
       [&] { prepared->protection = Protection(); }},
      [&](const Detached& detached) { return hold_and_supervise(options, *prepared, detached); });
}

}  // namespace

int run(const RunOptions& options, Purpose purpose) {
  const Tty tty = options.dry_run || options.detach ? Tty::as_caller : options.tty;
  return run_behind(tty, [&](pid_t front) { return run_here(options, purpose, front); });
}

}  // namespace sluice::launcher
