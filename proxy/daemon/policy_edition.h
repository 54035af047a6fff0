// A policy as one reading of its files found it, with what an operator asks about it.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "allowlists/load.h"

namespace sluice::proxy {

using WallClock = std::chrono::system_clock;

struct PolicyEdition {
  std::shared_ptr<const allowlists::Policy> policy;
  std::string path;  // as it was named; "" without a policy
  std::string digest;
  std::vector<std::string> agents;  // the patterns, in file order
  std::vector<Error> warnings;
  WallClock::time_point loaded_at = WallClock::now();
};

// SHA-256 in hex: of a lone file's bytes, as sha256sum(1) says it; of several files, of "NAME
// SIZE\nBYTES" of each.
std::string digest_of(std::span<const allowlists::Source> sources);

// Compiles what was read of sources with this digest.
PolicyEdition edition_of(std::string path, std::string digest, allowlists::ReadText read);
// All errors at once, in file order.
tl::expected<PolicyEdition, std::vector<Error>> make_edition(
    const std::string& path, std::span<const allowlists::Source> sources);
// The same for what is at `path` now. Unreadable: one error.
tl::expected<PolicyEdition, std::vector<Error>> read_edition(const std::string& path);
// Nothing is allowed: the policy of a run without one.
PolicyEdition no_policy();

// What became of the last attempt to read it, the one of the start included.
struct LastReload {
  WallClock::time_point at = WallClock::now();
  bool ok = true;
  std::vector<Error> errors;
};

// The answer to GET /api/v1/policy. At most 100 errors and warnings each; `more_errors` and
// `more_warnings` say how many there are besides.
std::string to_json(const PolicyEdition& in_force, const LastReload& last);

}  // namespace sluice::proxy
