#include "launcher/doctor/look.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "base/io.h"
#include "launcher/cgroup/scope.h"
#include "launcher/choice.h"
#include "launcher/doctor/trial.h"
#include "launcher/paths.h"
#include "launcher/roots/sub_ids.h"
#include "launcher/roots/tmpfs_attributes.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/supervision/proxy_process.h"
#include "netns/sockets.h"

namespace sluice::launcher::doctor {
namespace {

constexpr std::size_t largest_setting = 4096;
constexpr std::size_t largest_table = 4'000'000;

std::string text_of(const std::string& path, std::size_t limit = largest_table) {
  return read_file(path, limit).value_or(std::string());
}

std::string setting(const char* path) {
  const std::string text = text_of(path, largest_setting);
  return text.substr(0, text.find('\n'));
}

// The next piece of `text` up to `separator`, which is taken out of it.
std::string_view take(std::string_view& text, char separator) {
  const std::string_view piece = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(piece.size() + 1, text.size()));
  return piece;
}

// 0, or errno; a descriptor that comes of it is closed.
int error_of(long answer) { return answer < 0 ? errno : 0; }
int error_of_opening(long descriptor) {
  const int error_number = error_of(descriptor);
  const Fd closed(static_cast<int>(descriptor));
  return error_number;
}

// Each is asked for something that needs no right and changes nothing.
std::vector<CallFact> look_at_calls() {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  mount_attr nothing{};
  return {
      {"openat2", "5.6",
       error_of_opening(::syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)))},
      {"open_tree", "5.2", error_of_opening(::syscall(SYS_open_tree, AT_FDCWD, "/", O_CLOEXEC))},
      // A size of 0 is EINVAL before anything else is looked at.
      {"mount_setattr", "5.12", error_of(::syscall(SYS_mount_setattr, -1, "", 0, &nothing, 0))},
      {"pidfd_open", "5.3", error_of_opening(::syscall(SYS_pidfd_open, ::getpid(), 0))},
      // Of the last number there is, which is no descriptor.
      {"close_range", "5.9", error_of(::syscall(SYS_close_range, ~0U, ~0U, 0))},
  };
}

NamespaceSettingsFact look_at_settings() {
  return {setting("/proc/sys/user/max_user_namespaces"),
          setting("/proc/sys/user/max_net_namespaces"),
          setting("/proc/sys/kernel/unprivileged_userns_clone"),
          setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")};
}

void look_at_fences(Facts& facts) {
  const int abi = landlock_abi();
  facts.landlock_error = abi > 0 ? 0 : errno;
  facts.landlock_abi = std::max(abi, 0);
  std::uint32_t action = SECCOMP_RET_ERRNO;
  facts.seccomp_error = error_of(::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
  seccomp_notif_sizes sizes{};
  facts.notify_error = error_of(::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes));
  facts.has_user_attributes = tmpfs_can_hold("user.sluice");
  facts.has_trusted_attributes = tmpfs_can_hold("trusted.sluice");
  facts.vsock_error = error_of_opening(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

CgroupFact look_at_cgroups() {
  auto hierarchies = cgroup::own_hierarchies();
  if (!hierarchies) return {};
  auto place = cgroup::find_place(*hierarchies, ::getpid());
  std::string why = cgroup::why_no_scope(*hierarchies);
  return {true, std::move(*hierarchies), std::move(place), std::move(why)};
}

bool is_in_path(const char* program) {
  const char* const named = std::getenv("PATH");
  const std::string path = named != nullptr ? named : "/usr/bin:/bin";
  for (std::string_view rest = path; !rest.empty();) {
    const std::string folder(take(rest, ':'));
    if (folder.starts_with('/') && ::access((folder + "/" + program).c_str(), X_OK) == 0)
      return true;
  }
  return false;
}

void look_at_person(Facts& facts) {
  facts.uid = ::geteuid();
  const passwd* const known = ::getpwuid(facts.uid);
  facts.user = known != nullptr ? known->pw_name : fmt::format("{}", facts.uid);
  facts.subids.uids = count_subids(text_of("/etc/subuid"), facts.user, facts.uid);
  facts.subids.gids = count_subids(text_of("/etc/subgid"), facts.user, facts.uid);
  facts.subids.has_newuidmap = is_in_path("newuidmap");
  facts.subids.has_newgidmap = is_in_path("newgidmap");
  facts.subids.may_map = !map_program("newuidmap").empty() && !map_program("newgidmap").empty();
  facts.subids.is_usable = find_sub_ids().has_value();
}

void look_at_programs(Facts& facts) {
  struct stat status {};
  if (::stat(shared_socket, &status) == 0) {
    const auto connected = connect_proxy(shared_socket);
    facts.shared.end = connected ? Attempt::End::worked : Attempt::End::failed;
    if (!connected) facts.shared.what = connected.error().what;
    if (!connected) facts.shared.hint = connected.error().hint;
  }
  const auto own = real_path("/proc/self/exe");
  if (!own) return;
  facts.sluiced = std::filesystem::path(*own).parent_path().string() + "/sluiced";
  facts.has_sluiced = ::access(facts.sluiced.c_str(), X_OK) == 0;
}

}  // namespace

unsigned long long count_subids(std::string_view file, const std::string& user, uid_t uid) {
  const std::string number = fmt::format("{}", uid);
  unsigned long long ids = 0;
  while (!file.empty()) {
    std::string_view line = take(file, '\n');
    const std::string_view name = take(line, ':');
    if (name != user && name != number) continue;
    take(line, ':');
    unsigned long long count = 0;
    const auto read = std::from_chars(line.data(), line.data() + line.size(), count);
    if (read.ec == std::errc()) ids += count;
  }
  return ids;
}

Facts look() {
  Facts facts;
  look_at_person(facts);
  look_at_programs(facts);
  utsname name{};
  if (::uname(&name) == 0) facts.release = name.release;
  facts.calls = look_at_calls();
  facts.settings = look_at_settings();
  look_at_fences(facts);
  facts.has_ipv6 = netns::ip_versions() == netns::IpVersions::both;
  facts.cgroup = look_at_cgroups();
  std::error_code ignored;
  facts.directory = std::filesystem::current_path(ignored).string();
  facts.sandbox = try_sandbox();
  if (facts.is_root()) facts.id_map = try_id_map(facts.directory);
  return facts;
}

}  // namespace sluice::launcher::doctor
