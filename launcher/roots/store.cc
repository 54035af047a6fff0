#include "launcher/roots/store.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/roots/remove_tree.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t longest_name = 63;

std::string shown(std::string_view text) { return fmt::format("'{}'", text::printable(text)); }

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Result<void> expect_private(int directory, const std::string& path) {
  struct stat status {};
  if (::fstat(directory, &status) != 0) return fail_errno(Errc::bug, "fstat");
  if (status.st_uid == ::geteuid() && (status.st_mode & 022) == 0) return {};
  return fail(Errc::not_permitted, fmt::format("{} can be written by somebody else", shown(path)),
              "it must be yours alone: chown and chmod 700 it");
}

Result<void> lock(int directory, int how, const std::string& path) {
  while (::flock(directory, how) != 0) {
    if (errno != EINTR) return fail_errno(Errc::unavailable, "cannot lock " + shown(path));
  }
  return {};
}

Fd open_directory(const std::string& path) {
  return Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// What nobody holds any more was left by a process that was killed.
Result<void> remove_abandoned(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (!entry.path().filename().string().starts_with('.')) continue;
    const Fd left = open_directory(entry.path().string());
    if (left && ::flock(left.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (auto removed = remove_root(entry.path().string()); !removed) return removed;
  }
  if (!error) return {};
  return fail(Errc::unavailable,
              fmt::format("cannot read {}: {}", shown(directory), error.message()));
}

Failure unknown_root(const std::string& name, const std::vector<std::string>& known) {
  return fail(Errc::bad_config, fmt::format("there is no root {}", shown(name)),
              known.empty() ? std::string("none is imported: sluice root import NAME TAR|DIR; a "
                                          "directory is written with a slash: --root ./DIR")
                            : fmt::format("imported are: {}", fmt::join(known, ", ")));
}

}  // namespace

std::string roots_directory(const Machine& machine) {
  const std::string named = machine.variable("XDG_DATA_HOME");
  if (machine.is_root() && !named.starts_with('/')) return "/var/lib/sluice/roots";
  const std::string data =
      named.starts_with('/') ? absolute(named) : machine.home + "/.local/share";
  return data + "/sluice/roots";
}

std::string root_name_fault(const std::string& name) {
  if (name == "host") return "'host' is the machine's own root";
  const bool fits =
      !name.empty() && name.size() <= longest_name && is_letter_or_digit(name.front()) &&
      std::all_of(name.begin(), name.end(),
                  [](char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; });
  if (fits) return {};
  return fmt::format("{} is not a name for a root", shown(name));
}

StagedRoot::StagedRoot(StagedRoot&& other) noexcept
    : directory_(std::move(other.directory_)),
      path_(std::exchange(other.path_, {})),
      lock_(std::move(other.lock_)) {}

StagedRoot::~StagedRoot() {
  if (!path_.empty()) (void)remove_root(path_);
}

Result<void> StagedRoot::commit(const std::string& name) {
  // The store around it is closed to others; inside of a sandbox '/' is for everybody.
  if (::chmod(path_.c_str(), 0755) != 0) return fail_errno(Errc::unavailable, shown(path_));
  const std::string final = directory_ + "/" + name;
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final.c_str(), RENAME_NOREPLACE) != 0) {
    return fail_errno(Errc::unavailable, "cannot keep " + shown(final));
  }
  path_.clear();
  return {};
}

Result<Fd> RootStore::open(Create create) const {
  if (create) {
    std::error_code error;
    std::filesystem::create_directories(directory_, error);
    if (error) {
      return fail(Errc::unavailable,
                  fmt::format("cannot make {}: {}", shown(directory_), error.message()));
    }
  }
  Fd directory = open_directory(directory_);
  if (!directory) {
    if (errno == ENOENT) return Fd{};
    return fail_errno(Errc::unavailable, "cannot open " + shown(directory_));
  }
  if (auto fine = expect_private(directory.get(), directory_); !fine) return Failure(fine.error());
  if (create && ::fchmod(directory.get(), 0700) != 0) {
    return fail_errno(Errc::unavailable, shown(directory_));
  }
  if (auto done = lock(directory.get(), create ? LOCK_EX : LOCK_SH, directory_); !done) {
    return Failure(done.error());
  }
  return directory;
}

Result<std::vector<std::string>> RootStore::list() const {
  const auto directory = open(Create::no);
  if (!directory) return Failure(directory.error());
  std::vector<std::string> names;
  if (!*directory) return names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with('.')) names.push_back(name);
  }
  if (error) {
    return fail(Errc::unavailable,
                fmt::format("cannot read {}: {}", shown(directory_), error.message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> RootStore::find(const std::string& name) const {
  const auto names = list();
  if (!names) return Failure(names.error());
  if (std::count(names->begin(), names->end(), name) == 0) return unknown_root(name, *names);
  return path_of(name);
}

Result<Fd> RootStore::hold(const std::string& name) const {
  const auto store = open(Create::no);
  if (!store) return Failure(store.error());
  Fd root = open_directory(path_of(name));
  if (!root) return fail_errno(Errc::unavailable, "cannot open " + shown(path_of(name)));
  if (auto done = lock(root.get(), LOCK_SH, path_of(name)); !done) return Failure(done.error());
  return root;
}

Result<StagedRoot> RootStore::stage(const std::string& name) const {
  const auto store = open(Create::yes);
  if (!store) return Failure(store.error());
  if (auto removed = remove_abandoned(directory_); !removed) return Failure(removed.error());
  struct stat status {};
  if (::lstat(path_of(name).c_str(), &status) == 0) {
    return fail(Errc::bad_config, fmt::format("there is a root {} already", shown(name)),
                fmt::format("sluice root delete {}", name));
  }
  std::string path = path_of(".import-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) {
    return fail_errno(Errc::unavailable, "cannot make a directory in " + shown(directory_));
  }
  Fd held = open_directory(path);
  if (!held) return fail_errno(Errc::unavailable, shown(path));
  if (auto done = lock(held.get(), LOCK_EX, path); !done) return Failure(done.error());
  return StagedRoot(directory_, std::move(path), std::move(held));
}

Result<void> RootStore::remove(const std::string& name) const {
  if (auto found = find(name); !found) return Failure(found.error());
  const auto store = open(Create::yes);
  if (!store) return Failure(store.error());
  const Fd root = open_directory(path_of(name));
  if (!root) return fail_errno(Errc::unavailable, "cannot open " + shown(path_of(name)));
  if (::flock(root.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Errc::unavailable, fmt::format("the root {} is in use", shown(name)),
                "end the agents that run on it first");
  }
  // Gone as a whole, whenever this process ends.
  const std::string dying = path_of(fmt::format(".delete-{}", ::getpid()));
  if (::rename(path_of(name).c_str(), dying.c_str()) != 0) {
    return fail_errno(Errc::unavailable, "cannot remove " + shown(path_of(name)));
  }
  return remove_root(dying);
}

}  // namespace sluice::launcher
