// Every step that closes an agent in, in order: what a plan tells of and what a sandbox takes.
#pragma once

#include <fmt/core.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace sluice::launcher {

enum class Step : std::uint8_t {
  control_groups,
  descriptors,
  command_line,
  keyring,
  host_id,
  namespaces,
  supervisor,
  root,
  host_name,
  network,
  kernel_files,
  terminal,
  handover,
  go,
  session,
  agents_descriptors,
  nested_namespace,
  limits,
  capabilities,
  workspace,
  signals,
  no_new_privileges,
  landlock,
  filter,
  exec_log,
  self_check,
  profile,
};

// The process that takes a step: the one the supervisor forked, pid 1 of the new pid namespace, or
// the one that becomes the agent's command.
enum class Taker : std::uint8_t { forked, init, agent };

struct StepInfo {
  Step step;
  Taker taker;
  const char* name;  // in errors and in --dry-run --json: no two have the same
  const char* does;  // a sentence without its stop
};

inline constexpr auto all_steps = std::to_array<StepInfo>({
    {Step::control_groups, Taker::forked, "control groups", "join the agent's control groups"},
    {Step::descriptors, Taker::forked, "descriptors",
     "close every descriptor but the standard ones and what is mounted"},
    {Step::command_line, Taker::forked, "command line", "overwrite sluice's own arguments"},
    {Step::keyring, Taker::forked, "keyring", "leave the caller's keys for a keyring of its own"},
    {Step::host_id, Taker::forked, "host id", "where root starts it, become a host id of its own"},
    {Step::namespaces, Taker::forked, "namespaces",
     "make namespaces: user, mount, pid, ipc, uts, net, cgroup"},
    {Step::supervisor, Taker::init, "supervisor", "end with the supervisor, whatever ends it"},
    {Step::root, Taker::init, "root",
     "mount the host's root read-only, without setuid and devices, with new /proc, /sys and /dev"},
    {Step::host_name, Taker::init, "host name", "be called by the agent's name"},
    {Step::network, Taker::init, "network", "make the network whose only way out is the proxy"},
    {Step::kernel_files, Taker::init, "kernel files", "make /proc/sys read-only"},
    {Step::terminal, Taker::init, "terminal", "open a terminal of its own where there is one"},
    {Step::handover, Taker::init, "handover", "hand the network's listeners to the proxy"},
    {Step::go, Taker::init, "go", "wait until the proxy has registered the agent"},
    {Step::session, Taker::agent, "session", "begin a session of its own"},
    {Step::agents_descriptors, Taker::agent, "agent's descriptors",
     "close every descriptor but the standard ones"},
    {Step::nested_namespace, Taker::agent, "nested namespace",
     "enter a nested user namespace without capabilities"},
    {Step::limits, Taker::agent, "limits", "limit core files, and what no control group limits"},
    {Step::capabilities, Taker::agent, "capabilities", "drop every capability for good"},
    {Step::workspace, Taker::agent, "workspace", "enter the workspace"},
    {Step::signals, Taker::agent, "signals", "set every signal back to its default"},
    {Step::no_new_privileges, Taker::agent, "no_new_privs",
     "let no program that is run give privileges"},
    {Step::landlock, Taker::agent, "landlock",
     "let Landlock, where the kernel has it, refuse writes beside the writable mounts"},
    {Step::filter, Taker::agent, "filter", "load the system call filter"},
    {Step::exec_log, Taker::agent, "commands log",
     "unless --no-log-exec is given, tell the supervisor of every program that is started"},
    {Step::self_check, Taker::agent, "self-check", "try to leave: nothing may be reached"},
    {Step::profile, Taker::agent, "profile", "load the filter of --seccomp"},
});

constexpr const StepInfo& info_of(Step step) { return all_steps[static_cast<std::size_t>(step)]; }

// What is done for a step; `Work` is what its taker knows.
template <class Work>
struct StepTaken {
  Step step;
  Result<void> (*take)(Work&);
};

// Whether a table takes exactly the steps of its taker, in the order of all_steps: asserted where a
// table is made, so that no step is told of and left out, or taken and not told of.
template <class Work, std::size_t n>
constexpr bool takes_every_step(const StepTaken<Work> (&table)[n], Taker taker) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < all_steps.size(); ++i) {
    if (all_steps[i].step != static_cast<Step>(i)) return false;
    if (all_steps[i].taker != taker) continue;
    if (next == n || table[next].step != all_steps[i].step) return false;
    ++next;
  }
  return next == n;
}

// Asked before each step; what it answers as an error is the step's own. The launcher's does
// nothing: a program that tests how steps fail is linked with one of its own.
Result<void> before_step(const StepInfo& step);

// Takes one step after the other until one fails; the error names it.
template <class Work, std::size_t n>
Result<void> take_steps(const StepTaken<Work> (&table)[n], Work& work) {
  for (const StepTaken<Work>& taken : table) {
    auto done = before_step(info_of(taken.step));
    if (done) done = taken.take(work);
    if (done) continue;
    return fail(
        done.error().code,
        fmt::format("the sandbox failed at '{}': {}", info_of(taken.step).name, done.error().what),
        done.error().hint);
  }
  return {};
}

}  // namespace sluice::launcher
