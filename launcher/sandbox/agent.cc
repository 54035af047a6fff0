#include "launcher/sandbox/agent.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "base/capabilities.h"
#include "base/io.h"
#include "base/text.h"
#include "launcher/probes/proof.h"
#include "launcher/probes/self_check.h"
#include "launcher/sandbox/exec_listener.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/steps.h"
#include "netns/handover.h"

namespace sluice::launcher {
namespace {

constexpr int report_fd = 3;
constexpr int control_fd = 4;
constexpr int listener_fd = 5;     // a socket for the filter's listener
constexpr char exec_failed = 'x';  // then errno in decimal
constexpr char step_failed = 's';  // then the sentence, a line feed and the hint
constexpr char closed_in = 'c';    // alone: what ends the process from now on is the command

// What becomes the agent, step by step.
struct Becoming {
  const AgentStart& start;
  int report;    // where to tell of a failure
  int control;   // init's socket to the supervisor
  int listener;  // where to send the filter's listener
  std::optional<SharedListener> shared{};
};

// A session of its own either way: nobody else's terminal is its controlling one. Only a terminal
// that the person types into becomes it; descriptors that are no terminal stay pipes and files.
Result<void> take_terminal(Becoming& becoming) {
  const int terminal = becoming.start.terminal;
  if (::setsid() < 0) return fail_errno(Errc::bug, "setsid");
  if (terminal < 0) return {};
  if (::isatty(STDIN_FILENO) == 1 && ::ioctl(terminal, TIOCSCTTY, 0) != 0) {
    return fail_errno(Errc::bug, "TIOCSCTTY");
  }
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::isatty(standard) == 1 && ::dup2(terminal, standard) < 0) {
      return fail_errno(Errc::bug, "dup2");
    }
  }
  return {};
}

Result<void> reset_signals(Becoming&) {
  sigset_t none;
  ::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return fail_errno(Errc::bug, "sigprocmask");
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  for (int number = 1; number < 32; ++number) ::sigaction(number, &by_default, nullptr);
  return {};
}

// Keeps them as descriptors 3 to 5, closed by exec, and closes all above. They may be each other's.
Result<void> close_descriptors(Becoming& becoming) {
  struct Move {
    int& fd;
    int to;
    Fd spare{};
  };
  std::array<Move, 3> moves{Move{becoming.report, report_fd}, Move{becoming.control, control_fd},
                            Move{becoming.listener, listener_fd}};
  for (Move& move : moves) {
    move.spare.reset(::fcntl(move.fd, F_DUPFD_CLOEXEC, listener_fd + 1));
    if (!move.spare) return fail_errno(Errc::bug, "F_DUPFD_CLOEXEC");
  }
  for (Move& move : moves) {
    if (::dup3(move.spare.get(), move.to, O_CLOEXEC) < 0) return fail_errno(Errc::bug, "dup3");
    move.fd = move.to;
    move.spare.reset();
  }
  if (::close_range(listener_fd + 1, ~0U, 0) != 0) return fail_errno(Errc::bug, "close_range");
  return {};
}

// An overlay's root is answered by pid 1, which must outlive this process.
Result<void> filter_calls(Becoming& becoming) {
  const AgentStart& start = becoming.start;
  const Fd line(listener_fd);
  if (!start.plan.root.is_overlay()) return load_filter(start.filters.front());
  auto shared =
      load_shared_filter(start.filters.front(), line.get(), HoldsBackExec(start.plan.log_exec));
  if (!shared) return Failure(shared.error());
  becoming.shared = std::move(*shared);
  return {};
}

Result<void> enter_workspace(Becoming& becoming) {
  const Plan& plan = becoming.start.plan;
  ::umask(plan.umask);
  if (::chdir(plan.workspace.c_str()) == 0) return {};
  return fail_errno(Errc::not_permitted,
                    fmt::format("cannot enter '{}'", text::printable(plan.workspace)),
                    "the agent runs as you without your groups' and root's rights");
}

Result<void> nest_namespace(Becoming& becoming) {
  const Plan& plan = becoming.start.plan;
  if (!plan.root.has_id_range) return nest_user_namespace(plan.inside_uid, plan.inside_gid);
  // Processes are limited for each id, but for all together where the namespace was made so.
  if (auto done = limit_resources(plan.means.process); !done) return done;
  return nest_user_namespace_with_range(overlay_id_count);
}

Result<void> limit(Becoming& becoming) {
  return limit_resources(becoming.start.plan.means.process);
}

// Never CAP_SETFCAP: what a workspace of root's is given through its mapped mount would count on
// the host (capabilities(7), namespaced file capabilities).
Result<void> limit_capabilities(Becoming& becoming) {
  if (!becoming.start.plan.root.is_overlay()) return drop_capabilities();
  return keep_capabilities(overlay_capabilities);
}

Result<void> forbid_privileges(Becoming&) { return forbid_new_privileges(); }

Result<void> restrict_writes(Becoming& becoming) {
  const Plan& plan = becoming.start.plan;
  return restrict_files(writable_places(plan.mounts, plan.root)).map([](Landlocked) {});
}

// The supervisor answers for every program that is started from here on.
Result<void> log_programs(Becoming& becoming) {
  const Fd control(becoming.control);
  if (!becoming.start.plan.log_exec) return {};
  if (!becoming.shared) return hand_over_exec_listener(control.get());
  return hand_over_shared_listener(std::move(*becoming.shared), control.get());
}

// What a person adds to the filter: only exec, and what it needs, is done behind this.
Result<void> load_profile(Becoming& becoming) {
  if (becoming.start.plan.proves) return {};
  for (const FilterProgram& filter : std::span(becoming.start.filters).subspan(1)) {
    if (auto done = load_filter(filter); !done) return done;
  }
  return {};
}

probes::Bounds bounds_of(const Becoming& becoming) {
  return {becoming.start.plan, ::getpid(), 1, becoming.report};
}

// A proof tries all this and more, and tells of it instead of stopping.
Result<void> check_itself(Becoming& becoming) {
  if (becoming.start.plan.proves) return {};
  return probes::check_before_exec(bounds_of(becoming));
}

// The order matters: the nested namespace needs user namespaces, the bounding set needs
// capabilities, Landlock needs no_new_privs, the filter refuses what the steps before it do, and a
// person's profile may kill whoever tries what the self-check tries.
constexpr StepTaken<Becoming> give_up[] = {{Step::session, take_terminal},
                                           {Step::agents_descriptors, close_descriptors},
                                           {Step::nested_namespace, nest_namespace},
                                           {Step::limits, limit},
                                           {Step::capabilities, limit_capabilities},
                                           {Step::workspace, enter_workspace},
                                           {Step::signals, reset_signals},
                                           {Step::no_new_privileges, forbid_privileges},
                                           {Step::landlock, restrict_writes},
                                           {Step::filter, filter_calls},
                                           {Step::exec_log, log_programs},
                                           {Step::self_check, check_itself},
                                           {Step::profile, load_profile}};
static_assert(takes_every_step(give_up, Taker::agent));

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> list;
  list.reserve(words.size() + 1);
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  return list;
}

std::string_view search_path(const Plan& plan) {
  for (const std::string& entry : plan.environment) {
    if (entry.starts_with("PATH=")) return std::string_view(entry).substr(5);
  }
  return "/usr/bin:/bin";
}

[[noreturn]] void say(int report, std::string_view text) {
  (void)write_all(report, "the report", text);
  ::_exit(125);
}

[[noreturn]] void say(int report, const Error& error) {
  say(report, fmt::format("{}{}\n{}", step_failed, error.what, error.hint));
}

// As exec does: whoever started the agent learns that it runs.
[[noreturn]] void prove(probes::Bounds bounds) {
  if (!write_all(bounds.report, "the report", {&closed_in, 1})) ::_exit(125);
  ::close(std::exchange(bounds.report, -1));
  probes::prove(bounds, STDOUT_FILENO);
  ::_exit(0);
}

[[noreturn]] void become_agent(const AgentStart& start, int report, int control, int listener) {
  Becoming becoming{start, report, control, listener};
  // execvpe(3) searches the PATH of the calling process. Before the filters: one may refuse brk(2).
  ::setenv("PATH", std::string(search_path(start.plan)).c_str(), 1);
  const auto command = pointers(start.plan.command);
  const auto environment = pointers(start.plan.environment);
  if (auto done = take_steps(give_up, becoming); !done) say(becoming.report, done.error());
  if (start.plan.proves) prove(bounds_of(becoming));
  if (!write_all(report_fd, "the report", {&closed_in, 1})) ::_exit(125);
  ::execvpe(command[0], command.data(), environment.data());
  say(report_fd, fmt::format("{}{}", exec_failed, errno));
}

AgentFailure explain_step(std::string_view report) {
  if (report.empty()) {
    return {125,
            {Errc::unavailable,
             "the agent's process died before it had given up everything",
             "is the machine out of memory?",
             {}}};
  }
  if (report.starts_with(step_failed)) report.remove_prefix(1);
  const std::size_t line = std::min(report.find('\n'), report.size());
  const std::string_view hint = report.substr(std::min(line + 1, report.size()));
  return {125, {Errc::not_permitted, std::string(report.substr(0, line)), std::string(hint), {}}};
}

AgentFailure explain(const Plan& plan, std::string_view report) {
  if (report.starts_with(closed_in)) report.remove_prefix(1);
  if (!report.starts_with(exec_failed)) return explain_step(report);
  const int error_number = std::atoi(std::string(report.substr(1)).c_str());
  const std::string name = text::printable(plan.command.front());
  if (error_number == ENOENT || error_number == ENOTDIR) {
    return {127,
            {Errc::unavailable,
             fmt::format("cannot find the command '{}'", name),
             "it must be in PATH inside the sandbox: --bind SRC shows more of the host",
             {}}};
  }
  return {126,
          errno_error(Errc::not_permitted, fmt::format("cannot run '{}'", name), error_number)};
}

// Nothing but the end of the line comes from an agent without an overlay.
tl::expected<StartedAgent, AgentFailure> take_listener(pid_t pid, int line) {
  auto packet = netns::receive_packet(line);
  if (!packet) return tl::unexpected(AgentFailure{125, packet.error()});
  if (!*packet || (*packet)->fds.empty()) return StartedAgent{pid, {}};
  std::vector<Fd>& fds = (*packet)->fds;
  auto held = HeldCalls::of(std::move(fds.front()), fds.size() > 1 ? std::move(fds[1]) : Fd());
  if (!held) return tl::unexpected(AgentFailure{125, held.error()});
  return StartedAgent{pid, std::move(*held)};
}

}  // namespace

tl::expected<StartedAgent, AgentFailure> start_agent(const AgentStart& start, int control) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return tl::unexpected(AgentFailure{125, errno_error(Errc::unavailable, "pipe2", errno)});
  }
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  auto listener = netns::socket_pair();
  if (!listener) return tl::unexpected(AgentFailure{125, listener.error()});
  const pid_t pid = ::fork();
  if (pid < 0) {
    return tl::unexpected(AgentFailure{125, errno_error(Errc::unavailable, "fork", errno)});
  }
  if (pid == 0) become_agent(start, write_end.get(), control, listener->second.get());
  write_end.reset();
  listener->second.reset();
  const auto report = read_fd(read_end.get(), "the agent's report", 65536);
  if (report && *report == std::string_view(&closed_in, 1)) {
    return take_listener(pid, listener->first.get());
  }
  ::waitpid(pid, nullptr, 0);
  return tl::unexpected(report ? explain(start.plan, *report) : AgentFailure{125, report.error()});
}

}  // namespace sluice::launcher
