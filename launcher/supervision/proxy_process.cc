#include "launcher/supervision/proxy_process.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "base/io.h"
#include "launcher/sandbox/privileges.h"
#include "netns/handover.h"
#include "netns/named/lease.h"

namespace sluice::launcher {
namespace {

struct Inheritance {
  std::vector<std::string> arguments;
  std::vector<int> fds;
};

Inheritance inheritance(const ProxyStart& start, int handover, const std::vector<Fd>& policy) {
  Inheritance all{{start.program, "--embedded", "--handover-fd", fmt::format("{}", handover)},
                  {handover}};
  for (std::size_t i = 0; i < policy.size(); ++i) {
    all.arguments.insert(all.arguments.end(), {"--policy-fd", fmt::format("{}:{}", policy[i].get(),
                                                                          start.policy[i].name)});
    all.fds.push_back(policy[i].get());
  }
  if (!start.amendment.empty()) {
    all.arguments.push_back("--agent=" + start.amendment.agent);
    for (const std::string& allow : start.amendment.allow) {
      all.arguments.push_back("--allow=" + allow);
    }
    if (start.amendment.mode == allowlists::Mode::report) all.arguments.push_back("--report");
  }
  const auto add = [&](const char* option, int fd) {
    if (fd < 0) return;
    all.arguments.insert(all.arguments.end(), {option, fmt::format("{}", fd)});
    all.fds.push_back(fd);
  };
  add("--audit-fd", start.audit);
  add("--admin-fd", start.admin);
  if (start.as_uid) {
    all.arguments.insert(all.arguments.end(), {"--as-uid", fmt::format("{}", *start.as_uid)});
  }
  return all;
}

Result<std::vector<Fd>> seal_policy(const std::vector<allowlists::Source>& sources) {
  std::vector<Fd> sealed;
  for (const allowlists::Source& source : sources) {
    auto fd = sealed_memfd("policy", source.text);
    if (!fd) return Failure(fd.error());
    sealed.push_back(std::move(*fd));
  }
  return sealed;
}

[[noreturn]] void become_proxy(const Inheritance& inherited, int log) noexcept {
  const Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  // In a session of its own, so that Ctrl-C ends the agent and not what judges it.
  if (::setsid() < 0 || !nothing || ::dup2(nothing.get(), STDIN_FILENO) < 0 ||
      ::dup2(log, STDOUT_FILENO) < 0 || ::dup2(log, STDERR_FILENO) < 0 || !die_with_parent() ||
      !close_all_but(inherited.fds)) {
    ::_exit(125);
  }
  for (const int fd : inherited.fds) {
    if (::fcntl(fd, F_SETFD, 0) != 0) ::_exit(125);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> arguments;
  arguments.reserve(inherited.arguments.size() + 1);
  for (const std::string& argument : inherited.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::string path = "PATH=/usr/local/bin:/usr/bin:/bin";
  char* const environment[] = {path.data(), nullptr};
  ::execve(arguments.front(), arguments.data(), environment);
  const std::string text = fmt::format("error: cannot run '{}': {}\n", inherited.arguments.front(),
                                       strerrordesc_np(errno));
  (void)write_all(STDERR_FILENO, "stderr", text);
  ::_exit(125);
}

Result<void> make_non_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_errno(Errc::bug, "O_NONBLOCK");
  }
  return {};
}

}  // namespace

Result<ProxyProcess> start_proxy(const ProxyStart& start) {
  auto pair = netns::socket_pair();
  if (!pair) return Failure(pair.error());
  const auto policy = seal_policy(start.policy);
  if (!policy) return Failure(policy.error());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::unavailable, "pipe2");
  Fd log(ends[0]);
  const Fd log_write(ends[1]);
  for (const int fd : {pair->first.get(), log.get()}) {
    if (auto done = make_non_blocking(fd); !done) return Failure(done.error());
  }
  const Inheritance inherited = inheritance(start, pair->second.get(), *policy);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid == 0) become_proxy(inherited, log_write.get());
  return ProxyProcess{pid, std::move(pair->first), std::move(log)};
}

Result<Fd> connect_proxy(const std::string& socket_path) {
  return netns::connect_proxy(socket_path).map_error([](Error error) {
    error.hint = "start sluiced, or run with --proxy embedded and your own policy";
    return error;
  });
}

}  // namespace sluice::launcher
