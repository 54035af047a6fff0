#include "launcher/plan/wide_binds.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/plan/masks.h"
#include "launcher/plan/refusals.h"

namespace sluice::launcher {
namespace {

constexpr const char* narrower = "name a directory that holds only the project";

std::string quoted(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

std::string said_again(std::string_view instead, const Bind& bind) {
  return fmt::format("{}; if the agent may have it all, say so: --i-know {}", instead,
                     text::printable(bind.source));
}

bool is_known(const RunRequest& request, const Bind& bind) {
  return std::find(request.known.begin(), request.known.end(), bind.source) != request.known.end();
}

Result<void> refuse_system(const std::string& who, const Bind& bind) {
  // What lies there is run or obeyed by the machine itself; a directory above them holds them all.
  constexpr std::array<std::string_view, 6> wholly{"/etc", "/boot", "/usr",
                                                   "/lib", "/bin",  "/sbin"};
  constexpr std::array<std::string_view, 3> above{"/var", "/opt", "/run"};
  // Container images have their projects in /usr/src/app.
  const bool is_project = bind.source.starts_with("/usr/src/");
  const bool is_inside = std::any_of(wholly.begin(), wholly.end(), [&](std::string_view system) {
    return !is_project && is_at_or_below(bind.source, system);
  });
  if (!is_inside && std::find(above.begin(), above.end(), bind.source) == above.end()) return {};
  return fail(Errc::bad_config, fmt::format("{} belongs to the system", who), narrower);
}

Result<void> refuse_home(const std::string& who, const Bind& bind, const Machine& machine,
                         MayBeKnown may_be_known) {
  for (const std::string& home : {machine.home, machine.known_home}) {
    if (home.empty() || !is_at_or_below(home, bind.source)) continue;
    return fail(Errc::bad_config,
                fmt::format("{} is or contains the home directory {}", who, quoted(home)),
                may_be_known ? said_again(narrower, bind) : narrower);
  }
  return {};
}

// A cover is put where something is when the run begins, and the agent could make it anew beside
// that, or what obeys it.
Result<void> refuse_parent_of_hidden(const RunRequest& request, const Bind& bind,
                                     const Machine& machine) {
  std::vector<std::string> hidden = default_secrets(machine);
  for (std::string& own : own_directories()) hidden.push_back(std::move(own));
  const bool is_workspace = bind.source == request.workspace;
  const std::string instead =
      is_workspace ? narrower : "a copy is safe: --seed " + text::printable(bind.source);
  const auto refuse = [&](const std::string& path) {
    return fail(Errc::bad_config,
                fmt::format("{} holds {}, which is hidden from agents",
                            name_of_writable(request, bind), quoted(path)),
                said_again(instead, bind));
  };
  for (const std::string& path : hidden) {
    if (path == bind.source) continue;  // it was asked for by its own name
    if (is_at_or_below(path, bind.source)) return refuse(path);
    for (const std::string& other : other_paths(machine.mounts, path)) {
      if (other != bind.source && is_at_or_below(other, bind.source)) return refuse(other);
    }
  }
  return {};
}

Result<void> refuse_found(const RunRequest& request, const std::string& who, const Bind& bind) {
  const bool is_workspace = bind.source == request.workspace;
  const auto refuse = [&](const char* what, const std::string& name) {
    return fail(Errc::bad_config, fmt::format("{} holds the {} {}", who, what, quoted(name)),
                said_again("name a directory without it", bind));
  };
  if (!bind.found.device.empty()) return refuse("device", bind.found.device);
  // Those of the workspace that somebody has bound are hidden.
  if (!bind.found.socket.empty() && !is_workspace) return refuse("socket", bind.found.socket);
  return {};
}

}  // namespace

Result<void> refuse_wide_bind(const RunRequest& request, const Bind& bind, const Machine& machine,
                              MayBeKnown may_be_known) {
  const std::string who = name_of_writable(request, bind);
  if (bind.source != "/") {
    if (auto fine = refuse_system(who, bind); !fine) return fine;
  }
  if (is_known(request, bind)) return {};
  if (bind.source == "/") {
    return fail(Errc::bad_config, fmt::format("{} is the whole file system", who), narrower);
  }
  if (auto fine = refuse_home(who, bind, machine, may_be_known); !fine) return fine;
  if (!may_be_known) return {};  // what stands against it is said in its own words
  if (auto fine = refuse_parent_of_hidden(request, bind, machine); !fine) return fine;
  return refuse_found(request, who, bind);
}

}  // namespace sluice::launcher
