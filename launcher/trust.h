// Remembers which workspaces' own policies a person has reviewed, byte by byte, where no agent can
// write.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "allowlists/load.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"
#include "launcher/plan/machine.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {

inline constexpr const char* workspace_policy_name = ".sluice.yaml";
// What a person can be expected to review.
inline constexpr std::size_t largest_workspace_policy = std::size_t{1024} * 1024;

struct TrustRecord {
  std::string path;    // of the policy, without symbolic links
  std::string digest;  // SHA-256 of the text, sha256_hex()
  std::string text;    // as it was reviewed
};

// One file for each path, named after the path's SHA-256, in STATE/sluice/trust, a folder as
// open_state_folder() makes it.
class TrustStore {
 public:
  explicit TrustStore(std::string state_directory) : state_(std::move(state_directory)) {}

  // STATE/sluice/trust; need not exist.
  std::string directory() const { return state_ + "/sluice/trust"; }
  // A record that was damaged is an error, not an absent one.
  Result<std::optional<TrustRecord>> find(const std::string& path) const;
  // Whole or not at all, in the place of an earlier record.
  Result<void> put(const TrustRecord& record) const;
  // Whether there was one.
  Result<bool> forget(const std::string& path) const;
  // By path.
  Result<std::vector<TrustRecord>> list() const;

 private:
  // Without a descriptor where there is no store yet.
  Result<Fd> open(MakeFolder make) const;

  std::string state_;
};

// The bytes of a .sluice.yaml, read once; nothing where there is none. Whatever is not a regular
// file of at most 1 MiB is refused, symbolic links included, and never waited for.
Result<std::optional<std::string>> read_workspace_policy(const std::string& path);

// The policy that a workspace brings along, for a run without --policy: nothing when it brings
// none. One that was not reviewed is refused, for whoever wrote the workspace wrote it; one that
// changed since is refused with the difference. `workspace` without symbolic links.
Result<std::optional<allowlists::Source>> judge_workspace_policy(const std::string& workspace,
                                                                 const TrustStore& store);

// "'/srv/app/.sluice.yaml' is not obeyed: WHY", or "" when the workspace brings no policy.
std::string ignored_workspace_policy(const std::string& workspace, std::string_view why);

// 'path', printable: who wrote the workspace chose it.
std::string in_quotes(std::string_view path);
// `path` as one word for a shell.
std::string shell_word(std::string_view path);

}  // namespace sluice::launcher
