#include "launcher/roots/sub_ids.h"

#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <limits>
#include <string>

#include "base/io.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_file = std::size_t{1024} * 1024;
constexpr std::uint32_t no_id = std::numeric_limits<std::uint32_t>::max();

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Cuts off what comes before the first `end`.
std::string_view take(std::string_view& text, char end) {
  const std::string_view part = text.substr(0, text.find(end));
  text.remove_prefix(std::min(part.size() + 1, text.size()));
  return part;
}

bool is_whole(std::uint32_t first, std::uint32_t own) {
  if (first == 0 || first > no_id - sub_id_count) return false;
  return own < first || own - first >= sub_id_count;
}

bool may_change_ids(const char* path) {
  struct stat status {};
  struct statvfs place {};
  if (::stat(path, &status) != 0 || ::statvfs(path, &place) != 0) return false;
  const bool is_setuid = status.st_uid == 0 && (status.st_mode & S_ISUID) != 0;
  const bool has_rights = is_setuid || ::getxattr(path, "security.capability", nullptr, 0) > 0;
  return has_rights && (place.f_flag & ST_NOSUID) == 0 &&
         ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
}

}  // namespace

std::optional<std::uint32_t> find_range(std::string_view file, std::string_view user, uid_t uid,
                                        std::uint32_t own) {
  while (!file.empty()) {
    std::string_view line = take(file, '\n');
    const std::string_view whose = take(line, ':');
    const auto first = number(take(line, ':'));
    const auto count = number(line);
    if (whose != user && number(whose) != uid) continue;
    if (first && count && *count >= sub_id_count && is_whole(*first, own)) return first;
  }
  return std::nullopt;
}

std::string map_program(std::string_view name) {
  constexpr std::array<const char*, 6> places{
      "/usr/bin/newuidmap",       "/usr/bin/newgidmap",          "/usr/local/bin/newuidmap",
      "/usr/local/bin/newgidmap", "/run/wrappers/bin/newuidmap", "/run/wrappers/bin/newgidmap"};
  for (const char* place : places) {
    if (std::string_view(place).ends_with(name) && may_change_ids(place)) return place;
  }
  return {};
}

std::optional<SubIds> find_sub_ids() {
  const passwd* person = ::geteuid() == 0 ? nullptr : ::getpwuid(::geteuid());
  if (person == nullptr) return std::nullopt;
  if (map_program("newuidmap").empty() || map_program("newgidmap").empty()) return std::nullopt;
  const auto uids = read_file("/etc/subuid", largest_file);
  const auto gids = read_file("/etc/subgid", largest_file);
  if (!uids || !gids) return std::nullopt;
  const auto uid = find_range(*uids, person->pw_name, person->pw_uid, ::geteuid());
  const auto gid = find_range(*gids, person->pw_name, person->pw_uid, ::getegid());
  if (!uid || !gid) return std::nullopt;
  return SubIds{*uid, *gid};
}

}  // namespace sluice::launcher
