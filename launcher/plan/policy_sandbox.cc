#include "launcher/plan/policy_sandbox.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/plan/limits.h"

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

// `words` says a value as the policy would.
template <class Value, class Most, class Words>
Result<void> tighten_most(std::optional<Value>& option, const std::optional<Most>& policy,
                          std::string_view name, Words words) {
  if (!policy) return {};
  if (option && *option > *policy) return loosens(name, words(*policy));
  if (!option) option = policy;
  return {};
}

// Beside a limit of memory there is none where nothing is said of it.
Result<void> tighten_swap(Limits& limits, const allowlists::Sandbox& policy) {
  if (limits.swap && !limits.memory) {
    return fail(Errc::bad_config, "--swap stands without --memory",
                "say how much memory there is beside it: --memory 2GiB");
  }
  if (policy.memory && !policy.swap && limits.swap.value_or(0) > 0) {
    return loosens("--swap", "none");
  }
  return tighten_most(limits.swap, policy.swap, "--swap", size_in_words);
}

Result<void> tighten_limits(RunOptions& options, const allowlists::Sandbox& policy) {
  Limits& limits = options.limits;
  if (auto done = tighten_most(limits.memory, policy.memory, "--memory", size_in_words); !done) {
    return done;
  }
  if (auto done = tighten_swap(limits, policy); !done) return done;
  if (auto done = tighten_most(limits.io_weight, policy.io_weight, "--io-weight",
                               [](std::uint32_t weight) { return fmt::format("{}", weight); });
      !done) {
    return done;
  }
  if (auto done = tighten_most(limits.cpus, policy.cpu_thousandths, "--cpus", cpus_in_words);
      !done) {
    return done;
  }
  return tighten_most(limits.pids, policy.pids, "--pids",
                      [](std::uint64_t pids) { return fmt::format("{}", pids); });
}

Result<void> tighten_timeout(RunOptions& options, const allowlists::Sandbox& policy) {
  if (!policy.timeout) return {};
  if (options.timeout && *options.timeout > *policy.timeout) {
    return loosens("--timeout", fmt::format("{} ms", policy.timeout->count()));
  }
  if (!options.timeout) options.timeout = policy.timeout;
  return {};
}

// A seed of the policy's may be smaller, not larger, and nothing else may lie there.
Result<void> tighten_seed(RunOptions& options, const allowlists::SizedPath& policy,
                          const Machine& machine) {
  const std::string path = inside(policy.path, machine);
  const std::uint64_t most = policy.bytes.value_or(default_tmpfs_bytes);
  const std::string given = fmt::format("a seed of {} there", size_in_words(most));
  const std::string there = fmt::format("'{}'", text::printable(path));
  for (const BindOption& bind : options.binds) {
    if (bind.destination == path) return loosens("--bind on " + there, given);
  }
  const auto same = std::find_if(options.seeds.begin(), options.seeds.end(),
                                 [&](const TmpfsOption& one) { return one.path == path; });
  if (same == options.seeds.end()) {
    options.seeds.push_back({path, most});
    return {};
  }
  return same->bytes <= most ? Result<void>{} : loosens("--seed on " + there, given);
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
  // What lies below it would have a cap of its own.
  for (const std::vector<TmpfsOption>* const given : {&options.tmpfs, &options.seeds}) {
    for (const TmpfsOption& one : *given) {
      if (one.bytes <= most || one.path == path || !is_at_or_below(one.path, path)) continue;
      return loosens(fmt::format("{} below '{}'", text::printable(one.path), text::printable(path)),
                     fmt::format("{} bytes", most));
    }
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
  if (auto done = tighten_limits(options, policy); !done) return done;
  for (const allowlists::SizedPath& one : policy.seeds) {
    if (auto done = tighten_seed(options, one, machine); !done) return done;
  }
  for (const allowlists::SizedPath& one : policy.tmpfs) {
    if (auto done = tighten_tmpfs(options, one, machine); !done) return done;
  }
  for (const std::string& mask : policy.masks) {
    if (auto done = tighten_mask(options, inside(mask, machine)); !done) return done;
    if (!mask.starts_with('~') || machine.known_home.empty()) continue;
    // $HOME is the caller's to choose; passwd(5) is not.
    auto done = tighten_mask(options, absolute(machine.known_home + mask.substr(1)));
    if (!done) return done;
  }
  options.require_landlock |= policy.requires_landlock;
  return {};
}

}  // namespace sluice::launcher
