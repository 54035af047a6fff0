#include "launcher/plan/request.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/fd.h"
#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/plan/refusals.h"
#include "launcher/plan/writable_audit.h"
#include "launcher/sandbox/own_layer.h"

namespace sluice::launcher {
namespace {

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

Result<Bind> resolve_bind(const BindOption& option) {
  auto real = real_path(option.source);
  if (!real) return Failure(real.error());
  struct stat status {};
  if (::stat(real->c_str(), &status) != 0) return fail_errno(Errc::bad_config, *real);
  if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
    return fail(
        Errc::bad_config,
        fmt::format("'{}' is neither a directory nor a regular file", text::printable(*real)),
        "sockets, FIFOs and devices would be a way out; bind files and directories");
  }
  // A source that was named without a destination appears where the person sees it.
  const bool is_writable = option.access == Access::read_write;
  return Bind{*real, option.destination, option.access,
              is_writable ? remarkable_in(look_at_writable(*real)) : Remarkable{},
              absolute(option.source)};
}

Result<std::string> resolve_known(const RunRequest& request, const std::string& path) {
  auto real = real_path(path);
  if (!real) return real;
  for (const Bind& bind : all_binds(request)) {
    if (bind.access == Access::read_write && bind.source == *real) return real;
  }
  return fail(Errc::bad_config,
              fmt::format("--i-know '{}' is the path of no writable bind", text::printable(path)),
              "say the path of a '--bind PATH:rw' or of the workspace again, or leave it out");
}

// Where `path` leads in `root`, never out of it.
Result<std::string> real_path_in(const Root& root, const std::string& path) {
  if (root.is_host()) return real_path(path);
  const Fd directory(::open(root.source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(Errc::unavailable, text::printable(root.source));
  auto inside = resolve_inside(directory.get(), path);
  if (!inside) return inside;
  struct stat status {};
  if (::fstatat(directory.get(), inside->c_str(), &status, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) ==
      0) {
    return root.source + "/" + *inside;
  }
  return fail_errno(Errc::bad_config,
                    fmt::format("cannot find '{}' in the root", text::printable(path)),
                    "an empty directory there is --tmpfs PATH");
}

Result<Seed> resolve_seed(const TmpfsOption& option, const Root& root) {
  auto real = real_path_in(root, option.path);
  if (!real) return Failure(real.error());
  if (!is_directory(*real)) {
    return fail(Errc::bad_config,
                fmt::format("the seed '{}' is not a directory", text::printable(*real)),
                "seed the directory that holds it, or show the file: --bind FILE");
  }
  return Seed{*real, option.path, option.bytes};
}

// `path` is one of the sandbox: below a bind it lies in the bind's source.
bool is_there(const RunRequest& request, const std::string& path) {
  struct stat status {};
  const std::string in_root = request.root.is_host() ? path : request.root.source + path;
  if (::lstat(in_root.c_str(), &status) == 0) return true;
  if (is_at_or_below(path, request.workspace) && ::lstat(path.c_str(), &status) == 0) return true;
  for (const Bind& bind : request.binds) {
    if (!is_at_or_below(path, bind.destination)) continue;
    const std::string source = bind.source + path.substr(bind.destination.size());
    if (::lstat(source.c_str(), &status) == 0) return true;
  }
  return errno == EACCES;
}

void guard(RunRequest& request, std::string what, const std::string& path) {
  request.guarded.push_back({std::move(what), touched_paths(path), is_directory(path)});
}

}  // namespace

Result<std::string> resolve_workspace(const RunOptions& options) {
  auto real = real_path(options.workspace.value_or("."));
  if (real && !is_directory(*real)) {
    return fail(Errc::bad_config,
                fmt::format("the workspace '{}' is not a directory", text::printable(*real)),
                "name the project's directory: --workspace DIR");
  }
  return real;
}

Result<RunRequest> make_request(const RequestInput& input) {
  const RunOptions& options = input.options;
  RunRequest request;
  request.agent = input.agent;
  auto workspace = resolve_workspace(options);
  if (!workspace) return Failure(workspace.error());
  request.workspace = std::move(*workspace);
  for (const BindOption& option : options.binds) {
    auto bind = resolve_bind(option);
    if (!bind) return Failure(bind.error());
    request.binds.push_back(std::move(*bind));
  }
  const TopLevels in_workspace = look_at_writable(request.workspace);
  request.found_in_workspace = remarkable_in(in_workspace);
  request.env_files = find_env_files(request.workspace, in_workspace);
  for (const std::string& path : options.known) {
    auto known = resolve_known(request, path);
    if (!known) return Failure(known.error());
    request.known.push_back(std::move(*known));
  }
  if (!input.policy_path.empty()) guard(request, "the policy", input.policy_path);
  if (options.audit) guard(request, "the audit file", *options.audit);
  if (options.seccomp) guard(request, "the seccomp profile", *options.seccomp);
  // What an agent would put there is obeyed by the next run.
  for (const std::string& path : input.policy_search_path) {
    guard(request, "the place of the policy", path);
  }
  if (!input.trust_directory.empty()) {
    request.guarded.push_back({"the store of trust", touched_paths(input.trust_directory), true});
  }
  if (!input.placeholder_directory.empty()) {
    request.guarded.push_back(
        {"the journal of placeholders", touched_paths(input.placeholder_directory), true});
  }
  if (!options.seeds.empty() && !input.root.is_host() && input.root.is_overlay()) {
    return fail(Errc::bad_config, "an overlay of this root needs no --seed",
                "all of it can be written as it is; leave the seed out");
  }
  for (const TmpfsOption& option : options.seeds) {
    auto seed = resolve_seed(option, input.root);
    if (!seed) return Failure(seed.error());
    request.seeds.push_back(std::move(*seed));
  }
  // What an agent changes there is what the next one runs.
  request.root = input.root;
  if (!request.root.is_host()) guard(request, "the root", request.root.source);
  if (!input.roots_directory.empty()) {
    request.guarded.push_back(
        {"the place of imported roots", touched_paths(input.roots_directory), true});
  }
  if (!request.root.layers.empty()) {
    request.guarded.push_back({"the place of overlays", touched_paths(request.root.layers), true});
  }
  if (options.keep_changes) guard(request, "the place for changes", *options.keep_changes);
  for (const TmpfsOption& tmpfs : options.tmpfs) {
    // The overlay's own size.
    if (tmpfs.path == "/" && request.root.is_overlay()) {
      request.root.bytes = tmpfs.bytes;
    } else {
      request.tmpfs.push_back(tmpfs);
    }
  }
  request.masks = options.masks;
  request.seccomp = options.seccomp.value_or("");
  for (const std::string& mask : request.masks) {
    // An agent could have moved it away in an earlier run: hiding nothing in silence would help it.
    if (is_there(request, mask)) continue;
    return fail(Errc::bad_config,
                fmt::format("there is nothing to hide at '{}'", text::printable(mask)),
                "was it moved? leave the mask out, or name where it is now");
  }
  request.masks.insert(request.masks.end(), options.policy_masks.begin(),
                       options.policy_masks.end());
  request.environment = options.environment;
  request.pass_environment = options.pass_environment;
  request.command = options.command;
  request.log_exec = options.log_exec;
  return request;
}

}  // namespace sluice::launcher
