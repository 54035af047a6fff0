#include "launcher/policy_sandbox.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

Failure loosens(std::string_view option, std::string_view given) {
  return fail(Errc::not_permitted,
              fmt::format("{} is more than the policy gives the agent: {}", option, given),
              "leave the option out, or ask the operator to change 'sandbox:' of the policy");
}

// "~/x" is below the caller's home directory.
std::string inside(const std::string& path, const Machine& machine) {
  return absolute(path.starts_with('~') ? machine.home + path.substr(1) : path);
}

Result<void> tighten_timeout(RunOptions& options, const allowlists::Sandbox& policy) {
  if (!policy.timeout) return {};
  if (options.timeout && *options.timeout > *policy.timeout) {
    return loosens("--timeout", fmt::format("{} ms", policy.timeout->count()));
  }
  if (!options.timeout) options.timeout = policy.timeout;
  return {};
}

Result<void> tighten_tmpfs(RunOptions& options, const allowlists::SizedPath& policy,
                           const Machine& machine) {
  const std::string path = inside(policy.path, machine);
  const std::uint64_t most = policy.bytes.value_or(default_tmpfs_bytes);
  for (const BindOption& bind : options.binds) {
    if (bind.destination != path) continue;
    return loosens(fmt::format("--bind on '{}'", text::printable(path)),
                   fmt::format("a tmpfs of {} bytes there", most));
  }
  const auto same = std::find_if(options.tmpfs.begin(), options.tmpfs.end(),
                                 [&](const TmpfsOption& one) { return one.path == path; });
  if (same == options.tmpfs.end()) {
    options.tmpfs.push_back({path, most});
    return {};
  }
  if (same->bytes <= most) return {};
  return loosens(fmt::format("--tmpfs {}", text::printable(path)), fmt::format("{} bytes", most));
}

// A bind of what is hidden, by its own name, would show it.
Result<void> tighten_mask(RunOptions& options, std::string path) {
  for (const BindOption& bind : options.binds) {
    const auto real = real_path(bind.source);
    if (!real || !is_at_or_below(*real, path)) continue;
    return fail(Errc::not_permitted,
                fmt::format("--bind {} shows what the policy hides: '{}'",
                            text::printable(bind.source), text::printable(path)),
                "leave the bind out, or ask the operator to change 'sandbox:' of the policy");
  }
  options.policy_masks.push_back(std::move(path));
  return {};
}

}  // namespace

Result<void> tighten(RunOptions& options, const allowlists::Sandbox& policy,
                     const Machine& machine) {
  if (auto done = tighten_timeout(options, policy); !done) return done;
  for (const allowlists::SizedPath& one : policy.tmpfs) {
    if (auto done = tighten_tmpfs(options, one, machine); !done) return done;
  }
  for (const std::string& mask : policy.masks) {
    if (auto done = tighten_mask(options, inside(mask, machine)); !done) return done;
  }
  options.require_landlock |= policy.requires_landlock;
  return {};
}

}  // namespace sluice::launcher
