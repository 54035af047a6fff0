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

#include "base/capabilities.h"
#include "base/io.h"
#include "base/text.h"
#include "launcher/sandbox/exec_listener.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"

namespace sluice::launcher {
namespace {

constexpr int report_fd = 3;
constexpr int control_fd = 4;
constexpr char exec_failed = 'x';  // then errno in decimal
constexpr char step_failed = 's';  // then the sentence, a line feed and the hint

// A session of its own either way: nobody else's terminal is its controlling one. Only a terminal
// that the person types into becomes it; descriptors that are no terminal stay pipes and files.
Result<void> take_terminal(int terminal) {
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

Result<void> reset_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return fail_errno(Errc::bug, "sigprocmask");
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  for (int number = 1; number < 32; ++number) ::sigaction(number, &by_default, nullptr);
  return {};
}

// Keeps the report pipe as descriptor 3 and `control` as 4, closed by exec, and closes all above.
Result<void> close_descriptors(int report, int control) {
  // Above both, so that neither number is taken while it is moved.
  const int spare = ::fcntl(control, F_DUPFD_CLOEXEC, control_fd + 1);
  if (spare < 0) return fail_errno(Errc::bug, "F_DUPFD_CLOEXEC");
  if (report != report_fd && ::dup3(report, report_fd, O_CLOEXEC) < 0) {
    return fail_errno(Errc::bug, "dup3");
  }
  if (::dup3(spare, control_fd, O_CLOEXEC) < 0) return fail_errno(Errc::bug, "dup3");
  if (::close_range(control_fd + 1, ~0U, 0) != 0) return fail_errno(Errc::bug, "close_range");
  return {};
}

Result<void> enter_workspace(const Plan& plan) {
  ::umask(plan.umask);
  if (::chdir(plan.workspace.c_str()) == 0) return {};
  return fail_errno(Errc::not_permitted,
                    fmt::format("cannot enter '{}'", text::printable(plan.workspace)),
                    "the agent runs as you without your groups' and root's rights");
}

// The order matters: the nested namespace needs user namespaces, the bounding set needs
// capabilities, Landlock needs no_new_privs, the filter comes last because it refuses what the
// steps before it do.
Result<void> give_up(const AgentStart& start) {
  if (auto done = nest_user_namespace(start.plan.inside_uid, start.plan.inside_gid); !done) {
    return done;
  }
  if (auto done = limit_resources(); !done) return done;
  if (auto done = drop_capabilities(); !done) return done;
  if (auto done = enter_workspace(start.plan); !done) return done;
  if (auto done = reset_signals(); !done) return done;
  if (auto done = forbid_new_privileges(); !done) return done;
  if (auto done = restrict_files(writable_places(start.plan.mounts)); !done) {
    return Failure(done.error());
  }
  if (auto done = load_filter(start.filter); !done) return done;
  return start.plan.log_exec ? hand_over_exec_listener(control_fd) : Result<void>();
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> list;
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

[[noreturn]] void become_agent(const AgentStart& start, int report, int control) {
  if (auto done = take_terminal(start.terminal); !done) say(report, done.error());
  if (auto done = close_descriptors(report, control); !done) say(report, done.error());
  if (auto done = give_up(start); !done) say(report_fd, done.error());
  ::close(control_fd);
  // execvpe(3) searches the PATH of the calling process.
  ::setenv("PATH", std::string(search_path(start.plan)).c_str(), 1);
  const auto command = pointers(start.plan.command);
  const auto environment = pointers(start.plan.environment);
  ::execvpe(command[0], command.data(), environment.data());
  say(report_fd, fmt::format("{}{}", exec_failed, errno));
}

AgentFailure explain_step(std::string_view report) {
  if (report.starts_with(step_failed)) report.remove_prefix(1);
  const std::size_t line = std::min(report.find('\n'), report.size());
  const std::string_view hint = report.substr(std::min(line + 1, report.size()));
  return {125, {Errc::not_permitted, std::string(report.substr(0, line)), std::string(hint), {}}};
}

AgentFailure explain(const Plan& plan, std::string_view report) {
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

}  // namespace

tl::expected<pid_t, AgentFailure> start_agent(const AgentStart& start, int control) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return tl::unexpected(AgentFailure{125, errno_error(Errc::unavailable, "pipe2", errno)});
  }
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) {
    return tl::unexpected(AgentFailure{125, errno_error(Errc::unavailable, "fork", errno)});
  }
  if (pid == 0) become_agent(start, write_end.get(), control);
  write_end.reset();
  const auto report = read_fd(read_end.get(), "the agent's report", 65536);
  if (report && report->empty()) return pid;
  ::waitpid(pid, nullptr, 0);
  return tl::unexpected(report ? explain(start.plan, *report) : AgentFailure{125, report.error()});
}

}  // namespace sluice::launcher
