#include "launcher/sandbox/bind_source.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/io.h"
#include "base/text.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/set_id_files.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t harmless = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

Result<Fd> open_source(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  Fd source(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how))));
  if (!source) {
    return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", text::printable(path)),
                      "it was there without symbolic links a moment ago: is it being changed?");
  }
  return source;
}

std::uint64_t attributes_of(const Mount& bind) {
  return harmless | (bind.access == Access::read_only ? std::uint64_t{MOUNT_ATTR_RDONLY} : 0);
}

// A process that only waits, in a user namespace of its own, so that the namespace can be opened.
class Holder {
 public:
  static Result<Holder> start() {
    Fd read_end;
    Fd write_end;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::unavailable, "pipe2");
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(Errc::unavailable, "fork");
    if (pid == 0) {
      if (::unshare(CLONE_NEWUSER) != 0) ::_exit(1);
      // After unshare(2), which may clear PR_SET_PDEATHSIG; that does not tell of a parent that
      // died before it.
      if (!die_with_parent() || ::getppid() != parent) ::_exit(1);
      if (::write(write_end.get(), "u", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    Holder holder(pid);
    write_end.reset();
    char ready = 0;
    if (::read(read_end.get(), &ready, 1) != 1) {
      return fail(Errc::not_permitted, "cannot make a user namespace to map a bind's owner",
                  "sysctl -w user.max_user_namespaces=15000");
    }
    return holder;
  }
  Holder(Holder&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  Holder& operator=(Holder&&) = delete;
  ~Holder() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::string proc(const char* file) const { return fmt::format("/proc/{}/{}", pid_, file); }

 private:
  explicit Holder(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

// `count` ids from `uid` and `gid` on, as the file system has them.
struct Owners {
  uid_t uid = 0;
  gid_t gid = 0;
  unsigned count = 1;
};

// The first id of a map line is the one on the file system, the second the one that is seen.
Result<Fd> owner_namespace(const Owners& owners, uid_t host_id) {
  const auto holder = Holder::start();
  if (!holder) return Failure(holder.error());
  const auto line = [&](uid_t from) {
    return fmt::format("{} {} {}\n", from, host_id, owners.count);
  };
  for (const auto& [map, text] : {std::pair<const char*, std::string>{"uid_map", line(owners.uid)},
                                  {"gid_map", line(owners.gid)}}) {
    errno = 0;
    if (auto done = write_file(holder->proc(map), text); !done) {
      return fail(Errc::not_permitted, done.error().what,
                  errno == EROFS
                      ? namespace_hint(EROFS, {})
                      : "this root may be a container's: run sluice there as an ordinary user");
    }
  }
  Fd names(::open(holder->proc("ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  if (!names) return fail_errno(Errc::unavailable, holder->proc("ns/user"));
  return names;
}

Result<void> map_owners(int tree, const std::string& source, const Owners& owners, uid_t host_id) {
  const auto names = owner_namespace(owners, host_id);
  if (!names) return Failure(names.error());
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_IDMAP;
  change.userns_fd = static_cast<std::uint64_t>(names->get());
  if (::mount_setattr(tree, "", AT_EMPTY_PATH, &change, sizeof(change)) == 0) return {};
  return fail_errno(
      Errc::not_permitted,
      fmt::format("the file system of '{}' cannot map owners", text::printable(source)),
      "run sluice as the owner of that directory instead of root, or use one on ext4, xfs or "
      "btrfs");
}

Result<void> map_owner(int tree, const Mount& bind, uid_t host_id) {
  struct stat owner {};
  if (::fstat(tree, &owner) != 0) return fail_errno(Errc::bug, "fstat");
  return map_owners(tree, bind.source, {.uid = owner.st_uid, .gid = owner.st_gid}, host_id);
}

}  // namespace

Result<Fd> open_bind(const Mount& bind) {
  auto source = open_source(bind.source);
  if (!source || bind.kind == Mount::Kind::seed) return source;
  auto tree = clone_tree_at(source->get(), "", Recursive::yes);
  if (!tree) return tree;
  auto set = set_attributes(tree->get(), attributes_of(bind), Recursive::yes);
  if (!set) return Failure(set.error());
  return tree;
}

Result<Fd> open_bind_as_root(const Mount& bind, uid_t host_id) {
  auto source = open_source(bind.source);
  if (!source || bind.kind == Mount::Kind::seed) return source;
  auto tree = clone_tree_at(source->get(), "", Recursive::no);
  if (!tree) return tree;
  auto set = set_attributes(tree->get(), attributes_of(bind), Recursive::no);
  if (!set) return Failure(set.error());
  if (bind.access == Access::read_write) {
    if (auto fine = refuse_set_id_files(source->get(), bind.source); !fine) {
      return Failure(fine.error());
    }
    if (auto mapped = map_owner(tree->get(), bind, host_id); !mapped) {
      return Failure(mapped.error());
    }
  }
  return tree;
}

Result<Fd> open_root(const Root& root) {
  const auto source = open_source(root.source);
  if (!source) return Failure(source.error());
  auto tree = clone_tree_at(source->get(), "", Recursive::no);
  if (!tree) {
    return fail(tree.error().code,
                fmt::format("cannot use '{}' as the root: {}", text::printable(root.source),
                            tree.error().what),
                "unmount what is mounted below it");
  }
  auto set = set_attributes(tree->get(), harmless | MOUNT_ATTR_RDONLY, Recursive::no);
  if (!set) return Failure(set.error());
  return tree;
}

Result<Fd> open_layers(const Root& root) {
  const auto source = open_source(root.layers);
  if (!source) return Failure(source.error());
  return clone_tree_at(source->get(), "", Recursive::no);
}

Result<Fd> open_root_as_root(const Root& root, uid_t host_id) {
  auto tree = open_root(root);
  if (!tree || !root.has_id_range) return tree;
  const Owners all{.count = overlay_id_count};
  if (auto mapped = map_owners(tree->get(), root.source, all, host_id); !mapped) {
    return Failure(mapped.error());
  }
  return tree;
}

}  // namespace sluice::launcher
