#include "launcher/state_folder.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

std::string quoted(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

// Every missing directory of `path`; XDG wants them for their owner alone.
Result<void> make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail_errno(Errc::unavailable, fmt::format("cannot make {}", quoted(part)),
                        "make it, or set XDG_STATE_HOME");
    }
    if (slash == std::string::npos) return {};
  }
}

Result<void> check_directory(int fd, const std::string& name) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail_errno(Errc::unavailable, quoted(name));
  const char* const hint = "move it away: it is made anew, and what was kept in it is forgotten";
  if (status.st_uid != ::geteuid()) {
    return fail(Errc::not_permitted, fmt::format("{} belongs to another user", quoted(name)), hint);
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(Errc::not_permitted, fmt::format("{} can be written by others", quoted(name)),
                hint);
  }
  return {};
}

}  // namespace

std::string state_directory(const Machine& machine) {
  const std::string named = machine.variable("XDG_STATE_HOME");
  return named.starts_with('/') ? absolute(named) : machine.home + "/.local/state";
}

Result<Fd> open_state_folder(const std::string& state, const char* name, MakeFolder make) {
  if (make) {
    if (auto made = make_directories(state); !made) return Failure(made.error());
  }
  Fd at(::open(state.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int failure = errno;
  std::string path = state;
  for (const char* const part : {"sluice", name}) {
    if (!at) break;
    path += fmt::format("/{}", part);
    if (make && ::mkdirat(at.get(), part, 0700) != 0 && errno != EEXIST) {
      return fail_errno(Errc::unavailable, fmt::format("cannot make {}", quoted(path)));
    }
    Fd next(::openat(at.get(), part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    failure = errno;
    at = std::move(next);
    if (!at) break;
    if (auto fine = check_directory(at.get(), path); !fine) return Failure(fine.error());
  }
  if (at || (!make && failure == ENOENT)) return at;
  return Failure(errno_error(Errc::unavailable, fmt::format("cannot open {}", quoted(path)),
                             failure, "it must be a directory of your own"));
}

}  // namespace sluice::launcher
