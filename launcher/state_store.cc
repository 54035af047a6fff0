#include "launcher/state_store.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "launcher/paths.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

// Every missing directory of `path`; XDG wants them for their owner alone.
Result<void> make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail_errno(Errc::unavailable, fmt::format("cannot make {}", in_quotes(part)),
                        "make it, or set XDG_STATE_HOME");
    }
    if (slash == std::string::npos) return {};
  }
}

Result<void> check_directory(int fd, const std::string& name, const std::string& loss) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail_errno(Errc::unavailable, in_quotes(name));
  const std::string hint = "move it away: " + loss;
  if (status.st_uid != ::geteuid()) {
    return fail(Errc::not_permitted, fmt::format("{} belongs to another user", in_quotes(name)),
                hint);
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(Errc::not_permitted, fmt::format("{} can be written by others", in_quotes(name)),
                hint);
  }
  return {};
}

}  // namespace

std::string state_directory(const Machine& machine) {
  const std::string named = machine.variable("XDG_STATE_HOME");
  return named.starts_with('/') ? absolute(named) : machine.home + "/.local/state";
}

Result<Fd> open_state_store(const StateStore& store, Create create) {
  if (create) {
    if (auto made = make_directories(store.state_directory); !made) return Failure(made.error());
  }
  Fd at(::open(store.state_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int failure = errno;
  std::string path = store.state_directory;
  for (const std::string& name : {std::string("sluice"), store.name}) {
    if (!at) break;
    path += "/" + name;
    if (create && ::mkdirat(at.get(), name.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail_errno(Errc::unavailable, fmt::format("cannot make {}", in_quotes(path)));
    }
    Fd next(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    failure = errno;
    at = std::move(next);
    if (!at) break;
    if (auto fine = check_directory(at.get(), path, store.loss); !fine)
      return Failure(fine.error());
  }
  if (at || (!create && failure == ENOENT)) return at;
  return Failure(errno_error(Errc::unavailable, fmt::format("cannot open {}", in_quotes(path)),
                             failure, "it must be a directory of your own"));
}

}  // namespace sluice::launcher
