#include "launcher/roots/upper_layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/text.h"

namespace sluice::launcher {

Result<Fd> open_directory_of(int at, const std::string& name) {
  Fd directory(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (directory) return directory;
  return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", text::printable(name)));
}

Result<void> visit_entries(
    Fd directory, const std::function<Result<bool>(int at, const std::string& name)>& visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.get()), &::closedir);
  if (!stream) return fail_errno(Errc::unavailable, "cannot read a directory");
  (void)directory.release();
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const auto goes_on = visit(::dirfd(stream.get()), name);
    if (!goes_on) return Failure(goes_on.error());
    if (!*goes_on) return {};
  }
  return {};
}

Result<std::vector<std::string>> entries_of(int directory) {
  auto copy = open_directory_of(directory, ".");
  if (!copy) return Failure(copy.error());
  std::vector<std::string> names;
  const auto read = visit_entries(std::move(*copy), [&](int, const std::string& name) {
    names.push_back(name);
    return Result<bool>(true);
  });
  if (!read) return Failure(read.error());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_opaque(int directory) {
  const auto says_so = [&](const char* attribute) {
    std::array<char, 2> value{};
    return ::fgetxattr(directory, attribute, value.data(), value.size()) == 1 && value[0] == 'y';
  };
  return says_so("user.overlay.opaque") || says_so("trusted.overlay.opaque");
}

bool is_whiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == 0;
}

void make_readable(int at, const std::string& name, const struct stat& status) {
  const mode_t needed = S_ISDIR(status.st_mode) ? 0700 : 0600;
  if ((status.st_mode & needed) != needed) {
    [[maybe_unused]] const int result =
        ::fchmodat(at, name.c_str(), (status.st_mode & 0777) | needed, 0);
  }
}

}  // namespace sluice::launcher
