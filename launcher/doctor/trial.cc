#include "launcher/doctor/trial.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/bounded_child.h"
#include "base/io.h"
#include "launcher/host_id.h"
#include "launcher/sandbox/kernel_files.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/tree.h"
#include "netns/capture.h"
#include "netns/network.h"

namespace sluice::launcher::doctor {
namespace {

using Json = nlohmann::json;
using End = Attempt::End;

constexpr std::chrono::milliseconds patience{15'000};
// Behind the ids of agents, so that no agent has it.
constexpr uid_t trial_id = host_id_base + host_id_count;

struct Step {
  const char* name;
  Attempt SandboxFact::*attempt;
};
// In the order in which they are tried.
constexpr std::array<Step, 8> steps{{{"host id", &SandboxFact::host_id},
                                     {"user namespace", &SandboxFact::user_namespace},
                                     {"user map", &SandboxFact::user_map},
                                     {"namespaces", &SandboxFact::namespaces},
                                     {"root copy", &SandboxFact::root_copy},
                                     {"kernel files", &SandboxFact::kernel_files},
                                     {"network", &SandboxFact::network},
                                     {"nested", &SandboxFact::nested}}};

std::string line(const char* step, const Result<void>& done, int error_number = 0) {
  Json json{{"step", step}, {"worked", bool(done)}, {"errno", error_number}};
  if (!done) {
    json["what"] = done.error().what;
    json["hint"] = done.error().hint;
  }
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// Tells of one step and ends the process where it failed.
void tell_or_end(const Tell& tell, const char* step, const Result<void>& done,
                 int error_number = 0) {
  tell(line(step, done, done ? 0 : error_number));
  if (!done) ::_exit(0);
}

Result<void> take_host_id() {
  if (::geteuid() != 0) return {};
  return become_host_id(trial_id).and_then(die_with_parent);
}

// The simplest attempt, with its errno.
void try_user_namespace(const Tell& tell) {
  tell_or_end(tell, "host id", take_host_id());
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    const int error_number = errno;
    tell_or_end(tell, "user namespace",
                Failure(errno_error(Errc::not_permitted, "unshare", error_number)), error_number);
  }
  tell_or_end(tell, "user namespace", {});
  // After a change of ids /proc/self belongs to root, who is no one here.
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) ::_exit(1);
  for (const auto& [path, text] :
       {std::pair<const char*, std::string>{"/proc/self/setgroups", "deny\n"},
        {"/proc/self/uid_map", fmt::format("{0} {0} 1\n", uid)},
        {"/proc/self/gid_map", fmt::format("{0} {0} 1\n", gid)}}) {
    errno = 0;
    const auto done = write_file(path, text);
    const int error_number = errno;
    if (!done) tell_or_end(tell, "user map", done, error_number);
  }
  tell_or_end(tell, "user map", {});
}

Result<void> try_root_copy() {
  const auto root = clone_tree("/", Recursive::yes);
  if (!root) return Failure(root.error());
  return set_attributes(root->get(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                        Recursive::yes);
}

Result<void> try_kernel_files() {
  return KernelFiles::make().map([](const KernelFiles&) {});
}

Result<void> try_network(const Tell& tell) {
  if (const auto possible = netns::has_nf_tables()) tell(Json{{"nf_tables", *possible}}.dump());
  const auto sockets = netns::build_agent_network();
  if (!sockets) return Failure(sockets.error());
  tell(Json{{"captured", netns::is_captured(*sockets)}}.dump());
  return {};
}

// In pid 1 of the new pid namespace, which alone may mount its /proc.
void try_inside(const Tell& tell, uid_t uid, gid_t gid) {
  tell_or_end(tell, "root copy", try_root_copy());
  tell_or_end(tell, "kernel files", try_kernel_files());
  tell_or_end(tell, "network", try_network(tell));
  tell_or_end(tell, "nested", nest_user_namespace(uid, gid));
}

void try_namespaces(const Tell& tell) {
  tell_or_end(tell, "host id", take_host_id());
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  const IdMap own{.inside_uid = uid, .inside_gid = gid, .outside_uid = uid, .outside_gid = gid};
  // A new user namespace clears PR_SET_PDEATHSIG.
  tell_or_end(tell, "namespaces", leave_host_namespaces(own).and_then(die_with_parent));
  const pid_t child = ::fork();
  if (child < 0) tell_or_end(tell, "root copy", fail_errno(Errc::unavailable, "fork"));
  if (child == 0) {
    if (die_with_parent()) try_inside(tell, uid, gid);
    ::_exit(0);
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void read_step(const Json& json, SandboxFact& fact) {
  if (json.contains("nf_tables")) fact.nf_tables = json.value("nf_tables", false);
  if (json.contains("captured")) fact.captured = json.value("captured", false);
  const std::string name = json.value("step", "");
  for (const Step& step : steps) {
    if (name != step.name) continue;
    Attempt& attempt = fact.*step.attempt;
    attempt.end = json.value("worked", false) ? End::worked : End::failed;
    attempt.error_number = json.value("errno", 0);
    attempt.what = json.value("what", "");
    attempt.hint = json.value("hint", "");
  }
}

// The first step that was begun and of which nothing was heard.
void mark_silence(SandboxFact& fact) {
  for (const Step& step : steps) {
    Attempt& attempt = fact.*step.attempt;
    if (attempt.end == End::worked) continue;
    if (attempt.end == End::not_tried) attempt.end = End::no_answer;
    return;
  }
}

// A machine, or an rlimit, that lets nothing be tried.
SandboxFact without_processes(const Error& error) {
  SandboxFact fact;
  fact.host_id.end = End::worked;
  fact.user_namespace = {End::failed, EAGAIN, error.what, error.hint};
  return fact;
}

// A user namespace with one id in it, as a descriptor; who holds it open ends with the caller's
// process group.
Result<Fd> namespace_of_one_id() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::unavailable, "pipe2");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t holder = ::fork();
  if (holder < 0) return fail_errno(Errc::unavailable, "fork");
  if (holder == 0) {
    if (!die_with_parent() || ::unshare(CLONE_NEWUSER) != 0) ::_exit(1);
    if (::write(write_end.get(), "u", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  write_end.reset();
  char ready = 0;
  if (::read(read_end.get(), &ready, 1) != 1) {
    return fail(Errc::not_permitted, "root cannot make a user namespace",
                "sysctl -w user.max_user_namespaces=15000");
  }
  for (const char* map : {"uid_map", "gid_map"}) {
    const auto done =
        write_file(fmt::format("/proc/{}/{}", holder, map), fmt::format("0 {} 1\n", trial_id));
    if (!done) return Failure(done.error());
  }
  Fd names(::open(fmt::format("/proc/{}/ns/user", holder).c_str(), O_RDONLY | O_CLOEXEC));
  ::kill(holder, SIGKILL);
  if (!names) return fail_errno(Errc::unavailable, "cannot open a user namespace");
  return names;
}

// Two steps: what it takes everywhere, then what depends on the file system.
void try_map_owner(const Tell& tell, const std::string& directory) {
  const auto names = namespace_of_one_id();
  tell_or_end(tell, "host id", names ? Result<void>() : Failure(names.error()));
  const auto tree = clone_tree(directory, Recursive::no);
  tell_or_end(tell, "host id", tree ? Result<void>() : Failure(tree.error()));
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_IDMAP;
  change.userns_fd = static_cast<std::uint64_t>(names->get());
  Result<void> done;
  int error_number = 0;
  if (::mount_setattr(tree->get(), "", AT_EMPTY_PATH, &change, sizeof(change)) != 0) {
    error_number = errno;
    done = Failure(errno_error(Errc::not_permitted, "mount_setattr", error_number));
  }
  tell_or_end(tell, "user namespace", done, error_number);
}

}  // namespace

SandboxFact read_steps(const std::string& text) {
  SandboxFact fact;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const Json json = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                  text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (json.is_object()) read_step(json, fact);
    at = end + 1;
  }
  mark_silence(fact);
  return fact;
}

SandboxFact try_sandbox() {
  std::string text;
  for (const auto& work : {try_user_namespace, try_namespaces}) {
    const auto told = in_bounded_child(patience, work);
    if (!told) return without_processes(told.error());
    text += told->text;
    if (text.find("\"worked\":false") != std::string::npos) break;
  }
  return read_steps(text);
}

Attempt try_id_map(const std::string& directory) {
  const auto told =
      in_bounded_child(patience, [&](const Tell& tell) { try_map_owner(tell, directory); });
  if (!told) return {End::no_answer, 0, {}, {}};
  const SandboxFact steps_told = read_steps(told->text);
  return steps_told.host_id.end == End::worked ? steps_told.user_namespace : steps_told.host_id;
}

}  // namespace sluice::launcher::doctor
