#include "launcher/plan/refusals.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/plan/masks.h"
#include "launcher/plan/seeds.h"
#include "launcher/plan/wide_binds.h"

namespace sluice::launcher {
namespace {

std::string quoted(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

Result<void> refuse_programs(const RunRequest& request, const Bind& bind, const Machine& machine) {
  if (!is_at_or_below(machine.program_directory, bind.source)) return {};
  return fail(Errc::bad_config,
              fmt::format("{} contains the running sluice programs in {}",
                          name_of_writable(request, bind), quoted(machine.program_directory)),
              "install sluice elsewhere, or name a directory beside it");
}

Result<void> refuse_guarded(const RunRequest& request, const Bind& bind) {
  for (const Guarded& guarded : request.guarded) {
    for (const std::string& path : guarded.touched) {
      const bool inside = guarded.is_directory && is_at_or_below(bind.source, path);
      if (!inside && !is_at_or_below(path, bind.source)) continue;
      return fail(Errc::bad_config,
                  fmt::format("{} {} lies where the agent can write: {}", guarded.what,
                              quoted(path), name_of_writable(request, bind)),
                  "keep it outside of the workspace and of every writable bind");
    }
  }
  return {};
}

// Whatever a person says: this is what encloses the agent.
Result<void> refuse_enclosing(const RunRequest& request, const Bind& bind, const Machine& machine) {
  if (auto fine = refuse_programs(request, bind, machine); !fine) return fine;
  return refuse_guarded(request, bind);
}

// Its own size may be chosen, and what lies in it on the host may be shown.
bool is_in_shared_memory(std::string_view what, std::string_view path) {
  return is_at_or_below(path, "/dev/shm") && (path != "/dev/shm" || what == "the tmpfs");
}

// The kernel's own file systems of the host, and sluice's: not to be seen from inside, not even
// read-only.
Result<void> refuse_source(std::string_view what, const std::string& source,
                           const Machine& machine) {
  constexpr std::array<std::string_view, 4> hosts{"/proc", "/sys", "/dev", "/run/sluice"};
  for (const std::string_view own : hosts) {
    if (!is_at_or_below(source, own) || is_at_or_below(source, "/dev/shm")) continue;
    return fail(Errc::bad_config,
                fmt::format("{} {} would show the machine's own {}", what, quoted(source), own),
                "the sandbox has its own; leave it out");
  }
  for (const HostMount& mount : machine.mounts) {
    if (!mount.type.starts_with("cgroup") || !is_at_or_below(source, mount.point)) continue;
    return fail(Errc::bad_config,
                fmt::format("{} {} would show the machine's control groups", what, quoted(source)),
                "an agent's limits are written there; leave it out");
  }
  return {};
}

// An agent of an earlier run may have put a link where a person names a directory.
Result<void> refuse_hidden_end(std::string_view what, const std::string& named,
                               const std::string& source, const Machine& machine) {
  if (named.empty() || named == source) return {};
  const std::vector<std::string> hidden = default_secrets(machine);
  const auto is_hidden = [&](const std::string& path) {
    return std::any_of(hidden.begin(), hidden.end(),
                       [&](const std::string& secret) { return is_at_or_below(path, secret); });
  };
  if (!is_hidden(source) || is_hidden(named)) return {};
  return fail(Errc::bad_config,
              fmt::format("{} {} leads to {}, which is hidden from agents", what, quoted(named),
                          quoted(source)),
              "who made that link? name the path itself if the agent may have it");
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
  for (const Seed& seed : request.seeds) paths.push_back(seed.path);
  std::sort(paths.begin(), paths.end());
  const auto twice = std::adjacent_find(paths.begin(), paths.end());
  if (twice == paths.end()) return {};
  return fail(Errc::bad_config, fmt::format("two mounts are asked for at {}", quoted(*twice)),
              "leave one of them out; the workspace is mounted without asking");
}

}  // namespace

std::vector<Bind> all_binds(const RunRequest& request) {
  std::vector<Bind> binds{
      {request.workspace, request.workspace, Access::read_write, request.found_in_workspace}};
  binds.insert(binds.end(), request.binds.begin(), request.binds.end());
  return binds;
}

std::string name_of_writable(const RunRequest& request, const Bind& bind) {
  const bool is_workspace =
      bind.source == request.workspace && bind.destination == request.workspace;
  return fmt::format("the {} {}", is_workspace ? "workspace" : "writable bind",
                     quoted(bind.source));
}

Result<void> refuse_dangerous(const RunRequest& request, const Machine& machine) {
  for (const Bind& bind : all_binds(request)) {
    if (bind.access == Access::read_write) {
      auto never = refuse_enclosing(request, bind, machine);
      const MayBeKnown may_be_known(never.has_value());
      if (auto fine = refuse_wide_bind(request, bind, machine, may_be_known); !fine) return fine;
      if (!never) return never;
    }
    if (auto fine = refuse_source("the bind", bind.source, machine); !fine) return fine;
    if (auto fine = refuse_hidden_end("the bind", bind.named, bind.source, machine); !fine)
      return fine;
    if (auto fine = refuse_destination("the bind", bind.destination); !fine) return fine;
  }
  if (!request.root.is_host()) {
    if (auto fine = refuse_source("the root", request.root.source, machine); !fine) return fine;
  }
  for (const TmpfsOption& tmpfs : request.tmpfs) {
    if (auto fine = refuse_destination("the tmpfs", tmpfs.path); !fine) return fine;
  }
  for (const Seed& seed : request.seeds) {
    if (auto fine = refuse_source("the seed", seed.source, machine); !fine) return fine;
    // Links of another root lead nowhere out of it.
    const std::string& named = request.root.is_host() ? seed.path : seed.source;
    if (auto fine = refuse_hidden_end("the seed", named, seed.source, machine); !fine) return fine;
    if (auto fine = refuse_destination("the seed", seed.path); !fine) return fine;
  }
  for (const std::string& mask : request.masks) {
    if (auto fine = refuse_mask(request, mask); !fine) return fine;
  }
  if (auto fine = refuse_twice(request); !fine) return fine;
  return refuse_seeds(request);
}

}  // namespace sluice::launcher
