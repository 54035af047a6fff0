#include "launcher/roots/choice.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/roots/disk_layer.h"
#include "launcher/roots/tmpfs_attributes.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

constexpr const char* import_one =
    "import a root of your own once: sluice root import NAME TAR|DIR, then --root NAME";

std::string shown(std::string_view text) { return fmt::format("'{}'", text::printable(text)); }

Result<Root::Mode> choose_mode(const RunOptions& options) {
  const std::string mode =
      options.root_mode.value_or(options.learn_writes ? "overlay" : "readonly");
  if (mode == "overlay") return Root::Mode::overlay;
  if (mode != "readonly") {
    return fail(Errc::bad_config, fmt::format("{} is not a root mode", shown(mode)),
                "--root-mode readonly or --root-mode overlay");
  }
  if (options.learn_writes) {
    return fail(Errc::bad_config, "under a read-only root --learn-writes would learn nothing",
                "leave --root-mode out: it runs the command in an overlay");
  }
  if (!options.keep_changes) return Root::Mode::read_only;
  return fail(Errc::bad_config, "a read-only root has no changes to keep",
              "add --root-mode overlay, or leave --keep-changes out");
}

bool names_a_directory(const std::string& value) {
  return value.find('/') != std::string::npos || value == "." || value == "..";
}

Result<std::string> find_directory(const std::string& value) {
  auto real = real_path(value);
  if (!real) return real;
  struct stat status {};
  if (::stat(real->c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return fail(Errc::bad_config, fmt::format("the root {} is not a directory", shown(*real)),
                "an archive is imported first: sluice root import NAME TAR");
  }
  // By whatever name: a bind mount of it is it.
  struct stat machines {};
  if (::stat("/", &machines) == 0 && machines.st_dev == status.st_dev &&
      machines.st_ino == status.st_ino) {
    return fail(Errc::bad_config, fmt::format("the root {} is the machine's own", shown(*real)),
                "write --root host");
  }
  return real;
}

Result<void> expect_own(const Root& root, const Machine& machine) {
  struct stat status {};
  if (::stat(root.source.c_str(), &status) != 0) {
    return fail_errno(Errc::unavailable, shown(root.source));
  }
  if (machine.is_root() || status.st_uid == machine.uid) return {};
  return fail(
      Errc::not_permitted,
      fmt::format("the root {} belongs to somebody else: an overlay cannot change its files",
                  shown(root.source)),
      import_one);
}

// An overlay shows one file system, and the machine's root is root's to change.
Result<void> expect_one_file_system(const Machine& machine) {
  if (!machine.is_root()) {
    return fail(Errc::not_permitted, "only root's agents can have an overlay of the machine's root",
                import_one);
  }
  constexpr std::array<std::string_view, 8> parts{
      "/etc", "/opt", "/usr", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/lib/dpkg"};
  for (const HostMount& mount : machine.mounts) {
    if (std::find(parts.begin(), parts.end(), mount.point) == parts.end()) continue;
    return fail(Errc::not_permitted,
                fmt::format("an overlay shows one file system, and the machine's {} is another",
                            mount.point),
                import_one);
  }
  return {};
}

// By trying: what a release number promises, a build may have left out.
Result<void> choose_upper(const Machine& machine, Root& root) {
  if (tmpfs_can_hold("user.sluice")) return {};
  if (!machine.is_root()) {
    root.upper = Root::Upper::disk;
    root.layers = disk_layers_directory(state_directory(machine));
    return {};
  }
  root.upper = Root::Upper::trusted_memory;
  if (tmpfs_can_hold("trusted.sluice")) return {};
  return fail(
      Errc::not_permitted, "this kernel's tmpfs cannot hold an overlay's changes",
      "root of a container has no overlay before Linux 6.6: run sluice as an ordinary user, "
      "or outside of the container; --root-mode readonly works");
}

}  // namespace

Result<Root> choose_root(const RunOptions& options, const Machine& machine,
                         const RootStore& store) {
  Root root;
  const auto mode = choose_mode(options);
  if (!mode) return Failure(mode.error());
  root.mode = *mode;
  if (root.is_overlay()) root.sub_ids = find_sub_ids();
  root.has_id_range = root.is_overlay() && (machine.is_root() || root.sub_ids);
  const std::string value = options.root.value_or("host");
  if (value != "host") {
    const bool is_directory = names_a_directory(value);
    auto source = is_directory ? find_directory(value) : store.find(value).and_then(real_path);
    if (!source) return Failure(source.error());
    root.source = std::move(*source);
    if (!is_directory) root.name = value;
  }
  if (!root.is_overlay()) return root;
  if (auto chosen = choose_upper(machine, root); !chosen) return Failure(chosen.error());
  if (root.is_host()) {
    if (auto fine = expect_one_file_system(machine); !fine) return Failure(fine.error());
    return root;
  }
  if (auto fine = expect_own(root, machine); !fine) return Failure(fine.error());
  return root;
}

std::string root_notice(const Root& root) {
  if (!root.is_overlay()) return {};
  std::string what = fmt::format(
      "the agent is root in an overlay of {}: at most {} MiB, gone at the end",
      root.is_host() ? "the machine's root" : shown(root.name.empty() ? root.source : root.name),
      root.bytes >> 20U);
  if (root.is_on_disk()) {
    what += fmt::format(
        "; this kernel has no tmpfs with user extended attributes (Linux 6.6): what it writes lies "
        "in {}, and the overlay's cap of {} MiB is watched, not enforced",
        shown(root.layers), root.bytes >> 20U);
  }
  if (root.has_id_range) return what;
  return what + "; with a single id: changes of owner are answered and not made";
}

}  // namespace sluice::launcher
