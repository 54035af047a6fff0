#include "launcher/supervision/sandbox_keeper.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "launcher/plan/seeds.h"
#include "launcher/sandbox/bind_source.h"

namespace sluice::launcher {

Result<void> SandboxKeeper::open_sources(SandboxStart& start) {
  if (!start.host_id) return {};
  for (const Mount& mount : start.plan.mounts) {
    if (!has_source(mount)) continue;
    auto bind = open_bind_as_root(mount, *start.host_id);
    if (!bind) return Failure(bind.error());
    start.binds.push_back(std::move(*bind));
  }
  if (start.plan.root.is_hosts_as_it_is()) return {};
  auto root = open_root_as_root(start.plan.root, *start.host_id);
  if (!root) return Failure(root.error());
  start.root = std::move(*root);
  return {};
}

Result<void> SandboxKeeper::start(SandboxStart start) {
  auto sandbox = start_sandbox(std::move(start));
  if (!sandbox) return Failure(sandbox.error());
  control_ = std::move(sandbox->control);
  return {};
}

Result<void> SandboxKeeper::go() {
  ControlMessage message;
  message.kind = ControlMessage::Kind::go;
  return send_control(control_.get(), message);
}

void SandboxKeeper::signal(int number) {
  ControlMessage message;
  message.kind = ControlMessage::Kind::signal;
  message.number = number;
  if (control_) (void)send_control(control_.get(), message);
}

void SandboxKeeper::kill() {
  control_.reset();
  if (init_ <= 0) return;
  ::kill(init_, SIGKILL);
  ::waitpid(init_, nullptr, 0);
  init_ = -1;
}

void SandboxKeeper::on_born(pid_t pid) {
  if (std::count(strangers_.begin(), strangers_.end(), pid) == 0) init_ = pid;
}

void SandboxKeeper::on_child(pid_t pid) {
  if (pid == init_) {
    init_ = -1;
  } else {
    // Ended before it was announced: its number may soon be another process's.
    strangers_.push_back(pid);
  }
}

}  // namespace sluice::launcher
