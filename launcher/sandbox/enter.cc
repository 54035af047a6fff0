#include "launcher/sandbox/enter.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher/cgroup/group.h"
#include "launcher/control.h"
#include "launcher/sandbox/command_line.h"
#include "launcher/sandbox/init.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/new_root.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/root_layers.h"
#include "launcher/sandbox/steps.h"
#include "launcher/sandbox/terminal.h"
#include "netns/handover.h"
#include "netns/network.h"
#include "netns/refused_udp.h"

namespace sluice::launcher {
namespace {

// What pid 1 gathers on its way, step by step.
struct Enclosure {
  SandboxStart start;
  Fd control;
  std::optional<MapWriter> map_writer{};
  std::optional<OverlayMounter> mounter{};
  NewRoot root;
  std::vector<netns::RoleSocket> sockets;
  Fd refused_udp;
  Terminal terminal;
};

// Before the cgroup namespace, so that its root is the agent's own group.
Result<void> join_control_groups(Enclosure& enclosure) {
  return cgroup::join_groups(enclosure.start.groups);
}

Result<void> take_standard_error(const AgentsStderr& error) {
  if (!error.write_end) return {};
  const int pipe = error.write_end.get();
  if (::dup2(pipe, STDERR_FILENO) < 0 || (error.is_stdout && ::dup2(pipe, STDOUT_FILENO) < 0)) {
    return fail_errno(Errc::bug, "dup2");
  }
  return {};
}

// The supervisor's other descriptors lead to the proxy, the policy and the person's files.
Result<void> close_descriptors(Enclosure& enclosure) {
  if (auto taken = take_standard_error(enclosure.start.standard_error); !taken) return taken;
  enclosure.start.standard_error.write_end.reset();
  std::vector<int> kept{enclosure.control.get()};
  if (enclosure.start.root) kept.push_back(enclosure.start.root.get());
  for (const Fd& bind : enclosure.start.binds) kept.push_back(bind.get());
  return close_all_but(std::move(kept));
}

// Before the rights that it keeps are given up.
Result<void> start_map_writer(Enclosure& enclosure) {
  const Root& root = enclosure.start.plan.root;
  if (!root.has_id_range) return {};
  const uid_t first = enclosure.start.host_id.value_or(0);
  auto writer = root.sub_ids
                    ? MapWriter::start(*root.sub_ids)
                    : MapWriter::start(
                          {.outside_uid = first, .outside_gid = first, .count = overlay_id_count});
  if (!writer) return Failure(writer.error());
  enclosure.map_writer.emplace(std::move(*writer));
  return {};
}

Result<void> start_mounter(Enclosure& enclosure) {
  const Root& root = enclosure.start.plan.root;
  if (!root.is_overlay() || root.upper != Root::Upper::trusted_memory) return {};
  auto mounter = OverlayMounter::start(*enclosure.start.host_id, layered_file_system(root));
  if (!mounter) return Failure(mounter.error());
  enclosure.mounter.emplace(std::move(*mounter));
  return {};
}

Result<void> become_agents_host_id(Enclosure& enclosure) {
  let_cores_be_limited();
  if (auto started = start_map_writer(enclosure); !started) return started;
  if (!enclosure.start.host_id) return {};
  if (auto started = start_mounter(enclosure); !started) return started;
  return become_host_id(*enclosure.start.host_id);
}

Result<void> leave_host(Enclosure& enclosure) {
  if (enclosure.map_writer) return leave_host_namespaces(*enclosure.map_writer);
  const Plan& plan = enclosure.start.plan;
  return leave_host_namespaces({.inside_uid = plan.inside_uid,
                                .inside_gid = plan.inside_gid,
                                .outside_uid = ::geteuid(),
                                .outside_gid = ::getegid()});
}

Result<void> leave_keyring(Enclosure&) { return join_new_keyring(); }

Result<void> hide_command_line(Enclosure&) { return forget_command_line(); }

// PR_SET_PDEATHSIG does not tell when the parent died before it: the socket does.
Result<void> hang_on_supervisor(Enclosure& enclosure) {
  if (auto done = die_with_parent(); !done) return done;
  pollfd supervisor{enclosure.control.get(), POLLIN, 0};
  if (::poll(&supervisor, 1, 0) > 0 && (supervisor.revents & POLLHUP) != 0) ::_exit(125);
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return fail_errno(Errc::bug, "PR_SET_DUMPABLE");
  if (::setsid() < 0) return fail_errno(Errc::bug, "setsid");
  return {};
}

Result<void> build_root(Enclosure& enclosure) {
  auto root = enter_new_root(enclosure.start.plan,
                             {std::move(enclosure.start.root), std::move(enclosure.start.binds),
                              enclosure.mounter ? &*enclosure.mounter : nullptr});
  enclosure.mounter.reset();
  if (!root) return Failure(root.error());
  enclosure.root = std::move(*root);
  for (std::string& notice : enclosure.root.notices) {
    ControlMessage message;
    message.kind = ControlMessage::Kind::notice;
    message.sentence = std::move(notice);
    if (auto sent = send_control(enclosure.control.get(), message); !sent) return sent;
  }
  return {};
}

Result<void> name_host(Enclosure& enclosure) {
  const std::string& name = enclosure.start.plan.agent;
  if (::sethostname(name.data(), name.size()) != 0) {
    return fail_errno(Errc::not_permitted, "sethostname");
  }
  return {};
}

Result<void> build_network(Enclosure& enclosure) {
  auto sockets = netns::build_agent_network();
  if (!sockets) return Failure(sockets.error());
  enclosure.sockets = std::move(*sockets);
  if (!netns::is_captured(enclosure.sockets)) return {};
  auto refused_udp = netns::RefusedUdp::open_socket();
  if (!refused_udp) return Failure(refused_udp.error());
  enclosure.refused_udp = std::move(*refused_udp);
  return {};
}

Result<void> seal_kernel_files(Enclosure& enclosure) { return enclosure.root.kernel_files.seal(); }

Result<void> take_own_terminal(Enclosure& enclosure) {
  if (!has_terminal()) return {};
  auto terminal = open_terminal();
  if (!terminal) return Failure(terminal.error());
  enclosure.terminal = std::move(*terminal);
  return {};
}

Result<void> hand_over_sockets(Enclosure& enclosure) {
  ControlMessage ready;
  ready.kind = ControlMessage::Kind::ready;
  for (netns::RoleSocket& socket : enclosure.sockets) {
    attach(ready, netns::role_name(socket.role), std::move(socket.fd));
  }
  enclosure.sockets.clear();
  if (enclosure.refused_udp) attach(ready, "refused_udp", std::move(enclosure.refused_udp));
  attach(ready, "denials", std::move(enclosure.root.denials));
  if (enclosure.root.changes) attach(ready, "changes", std::move(enclosure.root.changes));
  if (enclosure.terminal.master) attach(ready, "terminal", std::move(enclosure.terminal.master));
  return send_control(enclosure.control.get(), ready);
}

// The proxy must hold the sockets before anybody can connect to them.
Result<void> await_go(Enclosure& enclosure) {
  for (;;) {
    auto message = receive_control(enclosure.control.get());
    if (!message) ::_exit(125);
    if (*message && (*message)->kind == ControlMessage::Kind::go) return {};
  }
}

// In the process that the supervisor forked.
constexpr StepTaken<Enclosure> outside[] = {
    {Step::control_groups, join_control_groups}, {Step::descriptors, close_descriptors},
    {Step::command_line, hide_command_line},     {Step::keyring, leave_keyring},
    {Step::host_id, become_agents_host_id},      {Step::namespaces, leave_host}};
static_assert(takes_every_step(outside, Taker::forked));

// In pid 1 of the new pid namespace.
constexpr StepTaken<Enclosure> inside[] = {{Step::supervisor, hang_on_supervisor},
                                           {Step::root, build_root},
                                           {Step::host_name, name_host},
                                           {Step::network, build_network},
                                           {Step::kernel_files, seal_kernel_files},
                                           {Step::terminal, take_own_terminal},
                                           {Step::handover, hand_over_sockets},
                                           {Step::go, await_go}};
static_assert(takes_every_step(inside, Taker::init));

template <std::size_t n>
void take_all(const StepTaken<Enclosure> (&steps)[n], Enclosure& enclosure) {
  const auto done = take_steps(steps, enclosure);
  if (done) return;
  (void)send_control(enclosure.control.get(), failure_message(125, done.error()));
  ::_exit(125);
}

// What is thrown ends these processes at once, and not in the frames of the one that forked them.
[[noreturn]] void be_init(Enclosure& enclosure) noexcept {
  take_all(inside, enclosure);
  ::_exit(run_init({enclosure.start.plan, enclosure.start.filters, enclosure.terminal.slave.get()},
                   std::move(enclosure.control)));
}

[[noreturn]] void set_up(Enclosure& enclosure) noexcept {
  take_all(outside, enclosure);
  // A sibling, so that pid 1's parent is the supervisor: its end is what PR_SET_PDEATHSIG waits
  // for.
  const long pid = ::syscall(SYS_clone, CLONE_PARENT, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0) be_init(enclosure);
  ControlMessage message;
  message.kind = ControlMessage::Kind::born;
  message.number = static_cast<int>(pid);
  if (pid < 0) message = failure_message(125, errno_error(Errc::unavailable, "clone", errno));
  (void)send_control(enclosure.control.get(), message);
  ::_exit(0);
}

}  // namespace

Result<Sandbox> start_sandbox(SandboxStart start) {
  auto pair = netns::socket_pair();
  if (!pair) return Failure(pair.error());
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid == 0) {
    pair->first.reset();
    Enclosure enclosure{std::move(start), std::move(pair->second), {}, {}, {}, {}, {}, {}};
    set_up(enclosure);
  }
  return Sandbox{std::move(pair->first)};
}

}  // namespace sluice::launcher
