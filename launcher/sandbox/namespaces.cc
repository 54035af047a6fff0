#include "launcher/sandbox/namespaces.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/io.h"

namespace sluice::launcher {
namespace {

std::string setting(const char* path) {
  const auto text = read_file(path, 64);
  if (!text) return {};
  return text->substr(0, text->find('\n'));
}

Failure forbidden(std::string_view what, int error_number) {
  const std::string clone = setting("/proc/sys/kernel/unprivileged_userns_clone");
  const std::string apparmor = setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
  return Failure(
      errno_error(Errc::not_permitted, what, error_number,
                  namespace_hint(error_number, {.unprivileged_userns_clone = clone,
                                                .apparmor_restrict_unprivileged = apparmor})));
}

// user_namespaces(7): setgroups must be denied before an unprivileged gid_map is written.
Result<void> write_maps(const IdMap& map) {
  // After a change of ids /proc/self belongs to root, who is no one here.
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) return fail_errno(Errc::bug, "PR_SET_DUMPABLE");
  const std::string uids = fmt::format("{} {} 1\n", map.inside_uid, map.outside_uid);
  const std::string gids = fmt::format("{} {} 1\n", map.inside_gid, map.outside_gid);
  for (const auto& [path, text] :
       {std::pair<const char*, std::string>{"/proc/self/setgroups", "deny\n"},
        {"/proc/self/uid_map", uids},
        {"/proc/self/gid_map", gids}}) {
    errno = 0;
    if (!write_file(path, text)) {
      return forbidden(fmt::format("cannot write '{}' of a new user namespace", path), errno);
    }
  }
  return {};
}

constexpr int all_namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
                               CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP;

// A namespace around this one may map its first id apart from the rest: one line may not lie across
// two of its lines (user_namespaces(7)).
std::string lines(uid_t inside, uid_t outside, unsigned count) {
  std::string text = fmt::format("{} {} 1\n", inside, outside);
  if (count > 1) text += fmt::format("{} {} {}\n", inside + 1, outside + 1, count - 1);
  return text;
}

// In the writer's process: runs a program and answers whether it was content.
bool run_program(const std::string& path, const std::vector<std::string>& words) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    std::vector<char*> arguments{const_cast<char*>(path.c_str())};
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execv(path.c_str(), arguments.data());
    ::_exit(127);
  }
  int status = 0;
  while (pid > 0 && ::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && status == 0;
}

bool map_by_program(std::string_view name, pid_t of, uid_t own, uid_t first) {
  const std::string program = map_program(name);
  return !program.empty() &&
         run_program(program, {std::to_string(of), "0", std::to_string(own), "1", "1",
                               std::to_string(first), std::to_string(sub_id_count)});
}

}  // namespace

Result<MapWriter> MapWriter::start(const IdMap& map) {
  return start(
      [map](pid_t of) -> bool {
        const std::string uids = lines(map.inside_uid, map.outside_uid, map.count);
        const std::string gids = lines(map.inside_gid, map.outside_gid, map.count);
        return write_file(fmt::format("/proc/{}/uid_map", of), uids) &&
               write_file(fmt::format("/proc/{}/gid_map", of), gids);
      },
      "this root may be a container's: run sluice there as an ordinary user");
}

Result<MapWriter> MapWriter::start(const SubIds& ids) {
  return start(
      [ids](pid_t of) {
        return map_by_program("newuidmap", of, ::geteuid(), ids.first_uid) &&
               map_by_program("newgidmap", of, ::getegid(), ids.first_gid);
      },
      "newuidmap or newgidmap refused it: 'sluice doctor' says what they need");
}

Result<MapWriter> MapWriter::start(const Write& write, const char* hint) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::unavailable, "pipe2");
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t of = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid != 0) return MapWriter(pid, std::move(write_end), hint);
  write_end.reset();
  // Waits for the word, or for the end of its parent.
  char word = 0;
  ::_exit(::read(read_end.get(), &word, 1) == 1 && write(of) ? 0 : 1);
}

MapWriter::~MapWriter() {
  order_.reset();
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

Result<void> MapWriter::write() {
  // Else /proc/PID belongs to root, who is no one here.
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) return fail_errno(Errc::bug, "PR_SET_DUMPABLE");
  if (::write(order_.get(), "w", 1) != 1) return fail_errno(Errc::bug, "write");
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno(Errc::bug, "waitpid");
  }
  pid_ = -1;
  if (status == 0) return {};
  return fail(Errc::not_permitted, "cannot map a range of ids into a new user namespace", hint_);
}

std::string namespace_hint(int error_number, const NamespaceSettings& settings) {
  if (error_number == ENOSPC) {
    return "this machine allows no more user namespaces: sysctl -w user.max_user_namespaces=15000";
  }
  if (error_number == EROFS) {
    return "/proc is read-only here: start the container with --security-opt "
           "systempaths=unconfined "
           "(podman: --security-opt unmask=ALL)";
  }
  if (settings.unprivileged_userns_clone == "0") {
    return "user namespaces are for root only here: sysctl -w kernel.unprivileged_userns_clone=1";
  }
  if (settings.apparmor_restrict_unprivileged == "1") {
    return "AppArmor restricts user namespaces here: give sluice a profile with 'userns,', or "
           "sysctl -w "
           "kernel.apparmor_restrict_unprivileged_userns=0";
  }
  return "something around sluice forbids user namespaces; in a container: --security-opt "
         "seccomp=unconfined --security-opt systempaths=unconfined";
}

Result<void> leave_host_namespaces(const IdMap& map) {
  if (::unshare(all_namespaces) != 0) return forbidden("cannot make new namespaces", errno);
  return write_maps(map);
}

Result<void> leave_host_namespaces(MapWriter& writer) {
  if (::unshare(all_namespaces) != 0) return forbidden("cannot make new namespaces", errno);
  return writer.write();
}

Result<void> nest_user_namespace(uid_t uid, gid_t gid) {
  if (::unshare(CLONE_NEWUSER) != 0) {
    return forbidden("cannot make the agent's user namespace", errno);
  }
  return write_maps({.inside_uid = uid, .inside_gid = gid, .outside_uid = uid, .outside_gid = gid});
}

Result<void> nest_user_namespace_with_range(unsigned count) {
  auto writer = MapWriter::start({.count = count});
  if (!writer) return Failure(writer.error());
  if (::unshare(CLONE_NEWUSER) != 0) {
    return forbidden("cannot make the agent's user namespace", errno);
  }
  return writer->write();
}

Result<void> enter_sub_ids(const SubIds& ids) {
  auto writer = MapWriter::start(ids);
  if (!writer) return Failure(writer.error());
  if (::unshare(CLONE_NEWUSER) != 0) return forbidden("cannot make a user namespace", errno);
  return writer->write();
}

}  // namespace sluice::launcher
