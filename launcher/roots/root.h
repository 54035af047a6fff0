// What '/' is for an agent: the host's root, or a directory of its own; read-only, or writable for
// as long as the agent lives.
#pragma once

#include <linux/capability.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "launcher/roots/sub_ids.h"

namespace sluice::launcher {

inline constexpr std::uint64_t default_overlay_bytes = std::uint64_t{2048} * 1024 * 1024;
// Where an agent is root of a range of ids: so many.
inline constexpr unsigned overlay_id_count = sub_id_count + 1;

// What it keeps, in its nested user namespace only.
inline constexpr std::array<int, 7> overlay_capabilities{
    CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SYS_CHROOT};

struct Root {
  enum class Mode : std::uint8_t {
    read_only,
    overlay,  // what is written is gone at the end; the agent is uid 0 of its own namespace
  };
  // Where what is written to an overlay goes, by what the kernel's tmpfs can hold.
  enum class Upper : std::uint8_t {
    memory,          // a capped tmpfs: it has user extended attributes (Linux 6.6)
    trusted_memory,  // the same without them: root of the machine mounts the overlay
    disk,            // a directory of the caller's; the cap is watched, not enforced
  };
  std::string source = "/";  // without symbolic links
  std::string name;          // of an imported one
  Mode mode = Mode::read_only;
  std::uint64_t bytes = default_overlay_bytes;  // overlay: at most so much is written
  Upper upper = Upper::memory;                  // overlay
  std::string layers;  // on disk: where the directory of each run is; once it is made, this run's
  bool has_id_range = false;      // overlay: overlay_id_count ids; else the caller's single one
  std::optional<SubIds> sub_ids;  // where they are the caller's own, and not root's to give

  bool is_host() const noexcept { return source == "/"; }
  bool is_hosts_as_it_is() const noexcept { return is_host() && !is_overlay(); }
  bool is_overlay() const noexcept { return mode == Mode::overlay; }
  bool is_on_disk() const noexcept { return is_overlay() && upper == Upper::disk; }
};

}  // namespace sluice::launcher
