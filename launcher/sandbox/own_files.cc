#include "launcher/sandbox/own_files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "base/io.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr const char* store = "/run/sluice";
constexpr std::uint64_t store_bytes = std::uint64_t{1024} * 1024;

std::string stored(const OwnFile& file) {
  return fmt::format("{}/etc/{}", store, std::filesystem::path(file.path).filename().string());
}

Result<Fd> create(const std::string& path, int flags) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0644));
  if (!file) return fail_errno(Errc::not_permitted, path);
  return file;
}

Result<Fd> fill_store(const std::vector<OwnFile>& files) {
  if (auto made = make_directories(fmt::format("{}/etc", store)); !made) {
    return Failure(made.error());
  }
  for (const OwnFile& file : files) {
    const auto target = create(stored(file), 0);
    if (!target) return Failure(target.error());
    if (auto done = write_all(target->get(), file.path, file.text); !done) {
      return Failure(done.error());
    }
  }
  return create(fmt::format("{}/denials", store), O_APPEND);
}

// Where the last of a chain of symbolic links points, whether or not that exists: resolv.conf is
// often one into /run, which is new here.
std::string end_of_links(std::string path) {
  for (int links = 0; links < 10; ++links) {
    std::array<char, PATH_MAX> target;
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
    if (size <= 0) return path;
    const std::string_view to(target.data(), static_cast<std::size_t>(size));
    path = (std::filesystem::path(path).parent_path() / to).lexically_normal().string();
  }
  return path;
}

Result<void> put(const OwnFile& file, MakeMissing make, MountPoints& points) {
  const std::string path = end_of_links(file.path);
  const bool is_link = path != file.path;
  const auto point =
      points.open(path, Shape::file, MakeMissing(is_link || (make && !file.needs_directory)));
  if (!point) return {};  // this root has none, and its libc then takes its defaults, which suit us
  auto copy = clone_tree(stored(file), Recursive::no);
  if (!copy) return Failure(copy.error());
  return attach(copy->get(), point->get());
}

}  // namespace

Result<Fd> put_own_files(const std::vector<OwnFile>& files, MakeMissing make, MountPoints& points) {
  const auto point = points.open(store, Shape::directory, MakeMissing::yes);
  if (!point) return Failure(point.error());
  auto writable = new_tmpfs(store_bytes, 0755);
  if (!writable) return Failure(writable.error());
  if (auto done = attach(writable->get(), point->get()); !done) return Failure(done.error());
  auto denials = fill_store(files);
  if (!denials) return denials;
  // Read-only is a matter of the mount: the agent sees a copy, the descriptor keeps the writable
  // one.
  auto visible = clone_tree(store, Recursive::no);
  if (!visible) return Failure(visible.error());
  auto set = set_attributes(visible->get(), MOUNT_ATTR_RDONLY, Recursive::no);
  if (!set) return Failure(set.error());
  if (::umount2(store, MNT_DETACH) != 0) return fail_errno(Errc::bug, "umount2");
  if (auto done = attach(visible->get(), store); !done) return Failure(done.error());
  for (const OwnFile& file : files) {
    if (auto done = put(file, make, points); !done) return Failure(done.error());
  }
  return denials;
}

}  // namespace sluice::launcher
