#include "launcher/sandbox/mount_points.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/text.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t shadow_bytes = std::uint64_t{256} * 1024;
constexpr const char* where_to_mount =
    "choose a path that exists, or one below /run, /tmp or the home directory";

Fd open_path(const std::string& path) { return Fd(::open(path.c_str(), O_PATH | O_CLOEXEC)); }

constexpr int most_links = 40;  // path_resolution(7)

class Walker {
 public:
  explicit Walker(const Walk& order) : order_(order) { push(order.path); }

  Place run() {
    int error = start();
    while (error == 0 && !rest_.empty()) error = step();
    if (error != 0) return {Fd{}, std::move(at_), stopped_, error};
    return {std::move(at_), Fd{}, {}, 0};
  }

 private:
  int start() {
    at_ = open_path("/");
    return at_ ? look(at_) : errno;
  }

  void push(const std::string& path) {
    for (std::size_t end = path.size(); end != 0;) {
      const std::size_t slash = path.rfind('/', end - 1);
      const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
      if (end > begin) rest_.push_back(path.substr(begin, end - begin));
      end = slash == std::string::npos ? 0 : slash;
    }
  }

  Fd open_entry(const std::string& name) const {
    return Fd(::openat(at_.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  }

  int step() {
    const std::string name = std::move(rest_.back());
    rest_.pop_back();
    stopped_ += "/" + name;
    Fd next = open_entry(name);
    if (!next && errno == ENOENT && order_.make) {
      if (const int error = make(name); error != 0) return error;
      next = open_entry(name);
    }
    if (!next) return errno;
    const bool refused = without_links_;
    if (const int error = look(next); error != 0) return error;
    if (S_ISLNK(mode_)) return refused ? ELOOP : follow(next);
    at_ = std::move(next);
    return 0;
  }

  int look(const Fd& place) {
    struct statx status {};
    if (::statx(place.get(), "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, &status) != 0) {
      return errno;
    }
    if ((status.stx_mask & STATX_MNT_ID) == 0) return ENOSYS;
    mode_ = status.stx_mode;
    const auto& mounts = order_.without_links;
    without_links_ |= std::find(mounts.begin(), mounts.end(), status.stx_mnt_id) != mounts.end();
    return 0;
  }

  int follow(const Fd& link) {
    std::array<char, PATH_MAX> target;
    const ssize_t size = ::readlinkat(link.get(), "", target.data(), target.size());
    if (size <= 0) return size == 0 ? ENOENT : errno;
    if (++links_ > most_links) return ELOOP;
    push(std::string(target.data(), static_cast<std::size_t>(size)));
    stopped_.resize(stopped_.rfind('/'));
    if (target.front() != '/') return 0;
    stopped_.clear();
    return start();
  }

  int make(const std::string& name) const {
    if (rest_.empty() && *order_.make == Shape::file) {
      constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
      return Fd(::openat(at_.get(), name.c_str(), flags, 0644)) ? 0 : errno;
    }
    return ::mkdirat(at_.get(), name.c_str(), 0755) == 0 || errno == EEXIST ? 0 : errno;
  }

  const Walk& order_;
  Fd at_;
  std::vector<std::string> rest_;  // the next entry last
  std::string stopped_;
  mode_t mode_ = 0;
  int links_ = 0;
  bool without_links_ = false;
};

Failure cannot_open(const std::string& path, const Place& place, MakeMissing make) {
  if (place.error == ELOOP) {
    return fail(
        Errc::not_permitted,
        fmt::format("the mount point '{}' leads through a symbolic link", text::printable(path)),
        "name the real path");
  }
  if (make && place.error != EACCES) {
    return fail(Errc::not_permitted,
                fmt::format("there is no '{}' to mount on", text::printable(place.stopped)),
                where_to_mount);
  }
  return Failure(errno_error(Errc::unavailable,
                             fmt::format("cannot open '{}'", text::printable(path)), place.error));
}

Result<void> expect_shape(const Fd& found, const std::string& path, Shape shape) {
  struct stat status {};
  if (::fstat(found.get(), &status) != 0) return fail_errno(Errc::bug, "fstat");
  if (S_ISDIR(status.st_mode) == (shape == Shape::directory)) return {};
  return fail(Errc::bad_config,
              fmt::format("'{}' is {}a directory", text::printable(path),
                          shape == Shape::directory ? "not " : ""),
              "mount directories on directories and files on files");
}

}  // namespace

Result<void> make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (::mkdir(prefix.c_str(), 0755) != 0 && errno != EEXIST && !open_path(prefix)) {
      return fail(Errc::not_permitted,
                  fmt::format("there is no '{}' to mount on", text::printable(prefix)),
                  where_to_mount);
    }
    if (slash == std::string::npos) return {};
  }
}

Place walk(const Walk& order) { return Walker(order).run(); }

bool is_root_directory(int place) {
  struct stat here {};
  struct stat root {};
  return ::fstat(place, &here) == 0 && ::stat("/", &root) == 0 && here.st_dev == root.st_dev &&
         here.st_ino == root.st_ino;
}

Result<Place> MountPoints::find(const std::string& path, Shape shape, MakeMissing make) {
  Walk order{.path = path, .without_links = without_links_};
  Place place = walk(order);
  if (place.error == EACCES && make) {
    if (is_root_directory(place.directory.get())) {
      return fail(Errc::not_permitted,
                  fmt::format("the agent cannot reach '{}'", text::printable(path)),
                  "make the directories above it searchable");
    }
    auto covered = cover(place.directory.get(), 0755);
    if (!covered) return Failure(covered.error());
    place = walk(order);
  }
  if (place.error == ENOENT && make) {
    order.make = shape;
    place = walk(order);
  }
  return place;
}

Result<Fd> MountPoints::open(const std::string& path, Shape shape, MakeMissing make_missing) {
  auto place = find(path, shape, make_missing);
  if (!place) return Failure(place.error());
  if (!place->found) return cannot_open(path, *place, make_missing);
  auto fits = expect_shape(place->found, path, shape);
  if (!fits) return Failure(fits.error());
  return std::move(place->found);
}

Result<void> MountPoints::refuse_links_in(int mount) {
  struct statx status {};
  if (::statx(mount, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 ||
      (status.stx_mask & STATX_MNT_ID) == 0) {
    return fail_errno(Errc::unavailable, "statx");
  }
  without_links_.push_back(status.stx_mnt_id);
  return {};
}

Result<void> MountPoints::cover(int directory, mode_t mode) {
  auto shadow = new_tmpfs(shadow_bytes, mode);
  if (!shadow) return Failure(shadow.error());
  if (auto attached = attach(shadow->get(), directory); !attached) return attached;
  shadows_.push_back(std::move(*shadow));
  return {};
}

Result<void> MountPoints::seal() {
  for (const Fd& shadow : shadows_) {
    auto sealed = set_attributes(shadow.get(), MOUNT_ATTR_RDONLY, Recursive::no);
    if (!sealed) return sealed;
  }
  return {};
}

}  // namespace sluice::launcher
