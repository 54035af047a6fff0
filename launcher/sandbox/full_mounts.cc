#include "launcher/sandbox/full_mounts.h"

#include <fmt/core.h>
#include <sys/statvfs.h>

#include <string_view>

#include "launcher/plan/limits.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

// What is left may be too little for what was to be written.
bool is_used_up(std::uint64_t all, std::uint64_t free) noexcept {
  constexpr std::uint64_t least_part = 100;
  return all > 0 && free <= all / least_part;
}

std::string in_words(const Room& room) {
  if (is_used_up(room.bytes, room.free_bytes)) return size_in_words(room.bytes);
  if (is_used_up(room.files, room.free_files)) return fmt::format("{} files", room.files);
  return {};
}

std::string tell(const std::string& path, std::string_view option,
                 const std::function<std::optional<Room>(const std::string&)>& look) {
  const auto room = look(path);
  const std::string limit = room ? in_words(*room) : std::string();
  if (limit.empty()) return {};
  return fmt::format("; {} is full: {} ({} {}:SIZE allows more)", in_quotes(path), limit, option,
                     shell_word(path));
}

}  // namespace

std::optional<Room> room_of(const std::string& path) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return std::nullopt;
  return Room{status.f_blocks * status.f_frsize, status.f_bfree * status.f_frsize, status.f_files,
              status.f_ffree};
}

std::string tell_full(const Plan& plan,
                      const std::function<std::optional<Room>(const std::string&)>& look) {
  std::string text;
  // Who watches a layer on disk says what it found.
  if (plan.root.is_overlay() && !plan.root.is_on_disk()) text = tell("/", "--tmpfs", look);
  for (const Mount& mount : plan.mounts) {
    if (mount.kind == Mount::Kind::tmpfs) text += tell(mount.path, "--tmpfs", look);
    if (mount.kind == Mount::Kind::seed) text += tell(mount.path, "--seed", look);
  }
  return text;
}

}  // namespace sluice::launcher
