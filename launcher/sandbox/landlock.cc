#include "launcher/sandbox/landlock.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/text.h"

namespace sluice::launcher {
namespace {

// As of ABI 6: the build machine's headers may be older.
struct Attributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};
constexpr std::uint64_t truncate_file = 1U << 14;
constexpr std::uint64_t ioctl_dev = 1U << 15;
constexpr std::uint64_t scope_abstract_unix_socket = 1U << 0;
constexpr std::uint64_t scope_signal = 1U << 1;

constexpr std::uint64_t reading =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t writing_files = LANDLOCK_ACCESS_FS_WRITE_FILE | truncate_file;
constexpr std::uint64_t writing_all =
    writing_files | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
constexpr std::uint64_t of_a_file = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                                    writing_files | ioctl_dev;  // others are EINVAL on a file

constexpr Errc refused = Errc::not_permitted;

class Ruleset {
 public:
  static Result<Ruleset> make(const LandlockRights& rights) {
    const Attributes attributes{rights.files, 0, rights.scopes};
    Fd fd(static_cast<int>(
        ::syscall(SYS_landlock_create_ruleset, &attributes, rights.attribute_size, 0)));
    if (!fd) return fail_errno(refused, "cannot make a Landlock ruleset");
    return Ruleset(std::move(fd), rights.files);
  }

  // 0 or an errno. Rights that this ABI does not have are left out.
  int allow(int beneath, std::uint64_t access) const {
    landlock_path_beneath_attr rule{};
    rule.allowed_access = access & handled_;
    rule.parent_fd = beneath;
    const long result =
        ::syscall(SYS_landlock_add_rule, fd_.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    return result == 0 ? 0 : errno;
  }

  Result<void> enter() const {
    if (::syscall(SYS_landlock_restrict_self, fd_.get(), 0) == 0) return {};
    return fail_errno(refused, "cannot enter Landlock");
  }

 private:
  Ruleset(Fd fd, std::uint64_t handled) : fd_(std::move(fd)), handled_(handled) {}

  Fd fd_;
  std::uint64_t handled_;
};

Failure cannot_allow(std::string_view what, int error_number) {
  return Failure(
      errno_error(refused, fmt::format("no Landlock rule for '{}'", what), error_number));
}

Result<void> allow_place(const Ruleset& ruleset, const std::string& path, std::uint64_t access) {
  const Fd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  // Left out by the plan, or below a mask: nobody can write there.
  if (!place && (errno == ENOENT || errno == ENOTDIR)) return {};
  struct stat status {};
  if (!place || ::fstat(place.get(), &status) != 0) {
    return cannot_allow(text::printable(path), errno);
  }
  if (!S_ISDIR(status.st_mode)) access &= of_a_file;
  if (const int error = ruleset.allow(place.get(), access); error != 0) {
    return cannot_allow(text::printable(path), error);
  }
  return {};
}

// A file that was opened for reading is not to be written to through /proc/self/fd/0.
Result<void> allow_standard_descriptors(const Ruleset& ruleset) {
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const int mode = ::fcntl(standard, F_GETFL);
    if (mode < 0) continue;  // the caller closed it
    std::uint64_t access = LANDLOCK_ACCESS_FS_READ_FILE;
    if ((mode & O_ACCMODE) != O_RDONLY) access = writing_files | ioctl_dev;
    if ((mode & O_ACCMODE) == O_RDWR) access |= LANDLOCK_ACCESS_FS_READ_FILE;
    // EBADFD: a pipe, a socket or a memfd, which Landlock leaves alone.
    if (const int error = ruleset.allow(standard, access); error != 0 && error != EBADFD) {
      return cannot_allow(fmt::format("descriptor {}", standard), error);
    }
  }
  return {};
}

}  // namespace

int landlock_abi() noexcept {
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) return 0;
  return static_cast<int>(abi);
}

LandlockRights landlock_rights(int abi) noexcept {
  LandlockRights rights;
  if (abi < 1) return rights;
  rights.files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  rights.attribute_size = offsetof(Attributes, handled_access_net);
  if (abi >= 2) rights.files |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) rights.files |= truncate_file;
  if (abi >= 4) rights.attribute_size = offsetof(Attributes, scoped);
  if (abi >= 5) rights.files |= ioctl_dev;
  if (abi >= 6) {
    rights.scopes = scope_abstract_unix_socket | scope_signal;
    rights.attribute_size = sizeof(Attributes);
  }
  return rights;
}

std::string landlock_notice(int abi) {
  if (abi < 0 || abi >= first_useful_landlock) return {};
  return fmt::format(
      "this kernel has no Landlock{}: the mounts alone keep files from being written",
      abi == 0 ? "" : " that lets a file move between directories");
}

std::vector<WritablePlace> writable_places(const std::vector<Mount>& mounts, const Root& root) {
  using Writes = WritablePlace::Writes;
  std::vector<WritablePlace> places;
  for (const char* file : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
                           "/dev/tty", "/dev/pts", "/proc"}) {
    places.push_back({file, Writes::existing_files});
  }
  places.push_back({"/dev/mqueue", Writes::all});
  if (root.is_overlay()) places.push_back({"/", Writes::all});
  for (const Mount& mount : mounts) {
    const bool is_writable =
        mount.kind == Mount::Kind::tmpfs || mount.kind == Mount::Kind::seed ||
        (mount.kind == Mount::Kind::bind && mount.access == Access::read_write);
    if (is_writable) places.push_back({mount.path, Writes::all});
  }
  return places;
}

Result<Landlocked> restrict_files(const std::vector<WritablePlace>& places, int abi) {
  if (abi < 0) {
    return fail_errno(refused, "cannot ask for Landlock's version",
                      "a filter around sluice forbids it; in a container: --security-opt "
                      "seccomp=unconfined");
  }
  if (abi < first_useful_landlock) return Landlocked::no;
  const auto ruleset = Ruleset::make(landlock_rights(abi));
  if (!ruleset) return Failure(ruleset.error());
  if (auto done = allow_place(*ruleset, "/", reading); !done) return Failure(done.error());
  for (const WritablePlace& place : places) {
    const bool all = place.writes == WritablePlace::Writes::all;
    // Reading too: a message queue is opened in a mount that lies beneath no '/' (mq_open(3)).
    const std::uint64_t access = reading | (all ? writing_all : writing_files | ioctl_dev);
    if (auto done = allow_place(*ruleset, place.path, access); !done) return Failure(done.error());
  }
  if (auto done = allow_standard_descriptors(*ruleset); !done) return Failure(done.error());
  if (auto done = ruleset->enter(); !done) return Failure(done.error());
  return Landlocked::yes;
}

}  // namespace sluice::launcher
