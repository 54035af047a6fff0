#include "launcher/refusals.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

constexpr const char* narrower = "name a directory that holds only the project";

std::string quoted(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

std::string subject(const RunRequest& request, const Bind& bind) {
  const bool is_workspace =
      bind.source == request.workspace && bind.destination == request.workspace;
  return fmt::format("the {} {}", is_workspace ? "workspace" : "writable bind",
                     quoted(bind.source));
}

Result<void> refuse_wide_bind(const RunRequest& request, const Bind& bind, const Machine& machine) {
  const std::string who = subject(request, bind);
  if (bind.source == "/") {
    return fail(Errc::bad_config, fmt::format("{} is the whole file system", who), narrower);
  }
  if (is_at_or_below(machine.home, bind.source)) {
    return fail(Errc::bad_config,
                fmt::format("{} is or contains the home directory {}", who, quoted(machine.home)),
                narrower);
  }
  if (!machine.known_home.empty() && is_at_or_below(machine.known_home, bind.source)) {
    return fail(
        Errc::bad_config,
        fmt::format("{} is or contains the home directory {}", who, quoted(machine.known_home)),
        narrower);
  }
  // What lies there is run or obeyed by the machine itself; a directory above them holds them all.
  constexpr std::array<std::string_view, 6> wholly{"/etc", "/boot", "/usr",
                                                   "/lib", "/bin",  "/sbin"};
  constexpr std::array<std::string_view, 3> above{"/var", "/opt", "/run"};
  for (const std::string_view system : wholly) {
    // Container images have their projects in /usr/src/app.
    const bool project = bind.source.starts_with("/usr/src/");
    if (project || !is_at_or_below(bind.source, system)) continue;
    return fail(Errc::bad_config, fmt::format("{} belongs to the system", who), narrower);
  }
  for (const std::string_view system : above) {
    if (bind.source != system) continue;
    return fail(Errc::bad_config, fmt::format("{} belongs to the system", who), narrower);
  }
  if (is_at_or_below(machine.program_directory, bind.source)) {
    return fail(Errc::bad_config,
                fmt::format("{} contains the running sluice programs in {}", who,
                            quoted(machine.program_directory)),
                "install sluice elsewhere, or name a directory beside it");
  }
  return {};
}

Result<void> refuse_guarded(const RunRequest& request, const Bind& bind) {
  for (const Guarded& guarded : request.guarded) {
    for (const std::string& path : guarded.touched) {
      const bool inside = guarded.is_directory && is_at_or_below(bind.source, path);
      if (!inside && !is_at_or_below(path, bind.source)) continue;
      return fail(Errc::bad_config,
                  fmt::format("{} {} lies where the agent can write: {}", guarded.what,
                              quoted(path), subject(request, bind)),
                  "keep it outside of the workspace and of every writable bind");
    }
  }
  return {};
}

// Its own size may be chosen, and what lies in it on the host may be shown.
bool is_in_shared_memory(std::string_view what, std::string_view path) {
  return is_at_or_below(path, "/dev/shm") && (path != "/dev/shm" || what == "the tmpfs");
}

// The kernel's own file systems of the host, and sluice's: not to be seen from inside, not even
// read-only.
Result<void> refuse_source(const Bind& bind, const Machine& machine) {
  constexpr std::array<std::string_view, 4> hosts{"/proc", "/sys", "/dev", "/run/sluice"};
  for (const std::string_view own : hosts) {
    if (!is_at_or_below(bind.source, own) || is_at_or_below(bind.source, "/dev/shm")) continue;
    return fail(
        Errc::bad_config,
        fmt::format("the bind {} would show the machine's own {}", quoted(bind.source), own),
        "the sandbox has its own; leave the bind out");
  }
  for (const HostMount& mount : machine.mounts) {
    if (!mount.type.starts_with("cgroup") || !is_at_or_below(bind.source, mount.point)) continue;
    return fail(
        Errc::bad_config,
        fmt::format("the bind {} would show the machine's control groups", quoted(bind.source)),
        "an agent's limits are written there; leave the bind out");
  }
  return {};
}

// Mounting over these would replace what encloses the agent or what tells it about its denials.
Result<void> refuse_destination(std::string_view what, std::string_view path) {
  constexpr std::array<std::string_view, 4> ours{"/proc", "/sys", "/dev", "/run/sluice"};
  for (const std::string_view own : ours) {
    if (path != "/" && !is_at_or_below(path, own)) continue;
    if (is_in_shared_memory(what, path)) continue;
    return fail(Errc::bad_config,
                fmt::format("{} {} would replace a part of the sandbox", what, quoted(path)),
                "choose a path outside of /proc, /sys, /dev and /run/sluice");
  }
  return {};
}

Result<void> refuse_mask(const RunRequest& request, const std::string& mask) {
  if (is_at_or_below(request.workspace, mask)) {
    return fail(Errc::bad_config, fmt::format("the mask {} hides the workspace", quoted(mask)),
                "mask what lies inside of it or beside it");
  }
  return {};
}

Result<void> refuse_twice(const RunRequest& request) {
  std::vector<std::string> paths;
  for (const Bind& bind : all_binds(request)) paths.push_back(bind.destination);
  for (const TmpfsOption& tmpfs : request.tmpfs) paths.push_back(tmpfs.path);
  std::sort(paths.begin(), paths.end());
  const auto twice = std::adjacent_find(paths.begin(), paths.end());
  if (twice == paths.end()) return {};
  return fail(Errc::bad_config, fmt::format("two mounts are asked for at {}", quoted(*twice)),
              "leave one of them out; the workspace is mounted without asking");
}

}  // namespace

std::vector<Bind> all_binds(const RunRequest& request) {
  std::vector<Bind> binds{{request.workspace, request.workspace, Access::read_write}};
  binds.insert(binds.end(), request.binds.begin(), request.binds.end());
  return binds;
}

Result<void> refuse_dangerous(const RunRequest& request, const Machine& machine) {
  for (const Bind& bind : all_binds(request)) {
    if (bind.access == Access::read_write) {
      if (auto fine = refuse_wide_bind(request, bind, machine); !fine) return fine;
      if (auto fine = refuse_guarded(request, bind); !fine) return fine;
    }
    if (auto fine = refuse_source(bind, machine); !fine) return fine;
    if (auto fine = refuse_destination("the bind", bind.destination); !fine) return fine;
  }
  if (!request.root.is_host()) {
    if (auto fine = refuse_source({request.root.source, "/", Access::read_only}); !fine)
      return fine;
  }
  for (const TmpfsOption& tmpfs : request.tmpfs) {
    if (auto fine = refuse_destination("the tmpfs", tmpfs.path); !fine) return fine;
  }
  for (const std::string& mask : request.masks) {
    if (auto fine = refuse_mask(request, mask); !fine) return fine;
  }
  return refuse_twice(request);
}

}  // namespace sluice::launcher
