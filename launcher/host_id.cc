#include "launcher/host_id.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>

#include <filesystem>
#include <random>

namespace sluice::launcher {
namespace {

// mkdir -p; only the last directory is closed to others.
Result<void> make_private(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!error) {
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all, error);
  }
  if (error) {
    return fail(Errc::unavailable, fmt::format("cannot make '{}': {}", directory, error.message()),
                "who is root here must be able to write there; where root is only that of a user "
                "namespace, start sluice outside of it");
  }
  return {};
}

}  // namespace

Result<HostId> HostId::claim(const std::string& directory, const HostIdSlots& slots) {
  if (auto made = make_private(directory); !made) return Failure(made.error());
  const unsigned first = std::random_device{}() % slots.count;
  for (unsigned i = 0; i < slots.count; ++i) {
    const unsigned slot = (first + i) % slots.count;
    const std::string path = fmt::format("{}/{}", directory, slot);
    Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock) return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", path));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0)
      return HostId(slots.base + slot * slots.size, std::move(lock));
  }
  return fail(Errc::unavailable, fmt::format("all {} host ids for agents are taken", slots.count),
              "stop some agents");
}

}  // namespace sluice::launcher
