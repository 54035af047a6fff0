// Landlock beneath the mounts (landlock(7)): what they leave writable is all that can be written,
// and signals and abstract sockets end at the agent's own processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strong.h"
#include "launcher/plan/plan.h"

namespace sluice::launcher {

// What this kernel speaks; 0 where it has none or was started without it (ENOSYS, EOPNOTSUPP), -1
// where the question itself is refused; errno says why.
int landlock_abi() noexcept;

struct LandlockRights {
  std::uint64_t files = 0;         // LANDLOCK_ACCESS_FS_*
  std::uint64_t scopes = 0;        // LANDLOCK_SCOPE_*
  std::size_t attribute_size = 0;  // landlock_ruleset_attr, in bytes: E2BIG where it is too long
};

// What an ABI has of what we use. No TCP rules: the agent's network has one way out anyway.
LandlockRights landlock_rights(int abi) noexcept;

// Before ABI 2 (Linux 5.19) every rename and link between two directories is refused, so that git
// could not work: there it counts as absent.
constexpr int first_useful_landlock = 2;

// What a person is told about a kernel whose Landlock is of no use; empty where it is.
std::string landlock_notice(int abi);

struct WritablePlace {
  enum class Writes : std::uint8_t {
    all,             // files and directories come, change, move and go; devices never come
    existing_files,  // what is there is written to: devices, /proc
  };
  std::string path;
  Writes writes = Writes::all;
};

// The root where it is an overlay, the mounts that are writable, and the files of /dev and /proc
// that every program writes to.
std::vector<WritablePlace> writable_places(const std::vector<Mount>& mounts, const Root& root = {});

using Landlocked = YesNo<struct LandlockedTag>;

// Restricts the calling thread for good: reads and executes what it could, writes only beneath
// `places` and to what descriptors 0-2 are open for writing to (/dev/stdout of a redirected run is
// a file that no place holds). Places that do not exist are left out. `no`: nothing was done, for
// want of a useful Landlock. Needs no_new_privs; mount(2) fails afterwards.
Result<Landlocked> restrict_files(const std::vector<WritablePlace>& places,
                                  int abi = landlock_abi());

}  // namespace sluice::launcher
