// Turns options and facts into what a run will do, step by step, or refuses them: pure.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/cgroup/means.h"
#include "launcher/options.h"
#include "launcher/plan/machine.h"
#include "launcher/probes/outside.h"
#include "launcher/roots/root.h"

namespace sluice::launcher {

// What the top levels of a writable directory hold, relative to it.
struct Remarkable {
  std::string socket;  // the first in the directory itself; "" for none
  std::string device;  // likewise
  std::vector<std::string> fifos;
};

struct EnvFiles {
  std::vector<std::string> paths;
  bool is_whole = true;  // else there may be more
};

// A bind whose source was looked at: a directory or a regular file, its path without symbolic
// links.
struct Bind {
  std::string source;
  std::string destination;
  Access access = Access::read_only;
  Remarkable found{};   // of a writable one
  std::string named{};  // the source as a person named it, absolute; "": as it is
};

// A directory that was looked at, its source without symbolic links.
struct Seed {
  std::string source;
  std::string path;
  std::uint64_t bytes = 0;
};

// What the agent must never be able to write: `touched` is every entry that leads to it.
struct Guarded {
  std::string what;  // "the policy", "the audit file"
  std::vector<std::string> touched;
  bool is_directory = false;  // then what lies below it counts as well
};

// The options with every path resolved.
struct RunRequest {
  std::string agent;
  std::string workspace;
  Root root;
  Remarkable found_in_workspace;
  EnvFiles env_files;
  std::vector<Bind> binds;
  std::vector<std::string> known;  // sources of writable binds whose danger a person has named
  std::vector<TmpfsOption> tmpfs;
  std::vector<Seed> seeds;
  std::vector<std::string> masks;
  std::vector<Guarded> guarded;
  cgroup::Means means;
  std::string seccomp;  // the file of a profile; "" for none
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> pass_environment;
  std::vector<std::string> command;
  bool log_exec = true;
};

// What of a writable bind is mounted upon itself: what would run code outside later, read-only, and
// each directory above it, which then cannot be moved away (EBUSY).
struct Shield {
  std::string path;  // below the bind
  Access access = Access::read_only;
  std::string_view reason;  // read-only: of static storage
};

struct Mount {
  enum class Kind : std::uint8_t {
    bind,
    tmpfs,   // empty, writable, capped
    seed,    // a tmpfs with a copy of what the source holds
    shadow,  // empty; read-only once the mount points below it are made
  };
  Kind kind = Kind::tmpfs;
  std::string path;
  std::string source;                  // bind, seed
  Access access = Access::read_write;  // bind
  std::uint64_t bytes = 0;             // tmpfs, seed
  mode_t mode = 0755;                  // tmpfs, shadow
  bool required = true;                // else left out where the root has no such directory
  std::vector<Shield> shields{};       // writable bind; parents before children
  // seed: paths below the source, relative to it, sorted.
  std::vector<std::string> without{};  // not copied: hidden from agents
  std::vector<std::string> mounted{};  // directories that stay empty: something is mounted there
};

// Binds and seeds: opened before anything is mounted over it.
bool has_source(const Mount& mount) noexcept;

// A file of our own in place of the root's. Of the host's root only what is there is replaced.
struct OwnFile {
  std::string path;
  std::string text;
  bool needs_directory = false;  // left out where the root has no directory for it
};

struct Plan {
  std::string agent;
  std::string workspace;
  std::string home;
  std::string user;  // the agent's name in its /etc/passwd
  uid_t inside_uid = 0;
  gid_t inside_gid = 0;
  mode_t umask = 022;
  Root root;
  std::vector<Mount> mounts;  // parents before children
  std::vector<OwnFile> files;
  std::vector<std::string> masks;  // last: nothing is mounted over them
  std::string seccomp;             // the file of a profile; "" for none
  std::vector<std::string> environment;
  cgroup::Means means;  // of limiting what it uses
  std::vector<std::string> command;
  Outside outside;       // what probes look for inside
  bool proves = false;   // the battery of probes runs in the command's place
  bool log_exec = true;  // every program that is started, ExecLog
};

// Refuses: a writable bind (the workspace is one) that contains the running programs or holds
// something guarded; unless it is known, one that is or contains '/', the home directory, something
// hidden, sockets or devices; destinations that would replace what
// encloses.
Result<Plan> make_plan(const RunRequest& request, const Machine& machine);

// What --dry-run prints: one line a step, in order. Ends with a line feed.
std::string describe(const Plan& plan);

}  // namespace sluice::launcher
