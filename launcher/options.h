// What a person typed behind `sluice run`, and how its small languages (sizes, durations, binds)
// are read.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "launcher/plan/limits.h"
#include "launcher/sessions/tty_front.h"

namespace sluice::launcher {

enum class Access : std::uint8_t { read_only, read_write };

struct TmpfsOption {
  std::string path;
  std::uint64_t bytes = 0;
};

struct BindOption {
  std::string source;
  std::string destination;  // the source's own path unless named
  Access access = Access::read_only;
};

struct RunOptions {
  std::optional<std::string> policy;
  std::optional<std::string> agent;
  std::optional<std::string> workspace;
  std::optional<std::string> proxy;  // "embedded" or a socket
  std::optional<std::string> audit;
  std::optional<std::string> root;          // "host", a directory or an imported root's name
  std::optional<std::string> root_mode;     // "readonly" or "overlay"
  std::optional<std::string> keep_changes;  // the directory for what an overlay's agent wrote
  bool learn_writes = false;                // an overlay, and at the end what it was needed for
  std::vector<TmpfsOption> tmpfs;
  std::vector<TmpfsOption> seeds;
  std::vector<BindOption> binds;
  std::vector<std::string> masks;
  std::vector<std::string> policy_masks;  // which need not exist
  bool require_landlock = false;
  std::vector<std::string> known;  // --i-know
  std::optional<std::string> seccomp;
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> pass_environment;
  std::vector<std::string> allow;  // HOST[:PORT] each, for this run
  bool log_exec = true;            // a line of the audit log for each program that is started
  bool report = false;             // what the policy would block passes, and is counted
  std::optional<std::chrono::milliseconds> timeout;
  Limits limits;
  bool quiet = false;
  bool dry_run = false;
  bool json = false;    // the dry run's plan, or what was learnt
  bool detach = false;  // go on in the background
  Tty tty = Tty::as_caller;
  std::vector<std::string> command;
};

// What `sluice prove` takes.
struct ProveOptions {
  RunOptions run;  // without a command
  bool json = false;
};

inline constexpr std::uint64_t default_tmpfs_bytes = std::uint64_t{256} * 1024 * 1024;

// Bytes: a decimal number with an optional B, K/KiB, M/MiB, G/GiB or T/TiB (powers of 1024); at
// least one page (4096), at most 2^50.
Result<std::uint64_t> parse_size(std::string_view text);

// A decimal number with ms, s, m, h or d; more than zero, at most 366 days.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

// PATH[:SIZE]
Result<TmpfsOption> parse_tmpfs(std::string_view text);
Result<TmpfsOption> parse_seed(std::string_view text);

// PATH, which may have colons in it.
Result<std::string> parse_mask(std::string_view text);

// auto, yes or no
Result<Tty> parse_tty(std::string_view text);

// SRC[:DST][:ro|rw]; read-only unless `rw` is said.
Result<BindOption> parse_bind(std::string_view text);

// K=V, K a name that a shell could set.
Result<std::pair<std::string, std::string>> parse_environment(std::string_view text);
Result<std::string> parse_environment_name(std::string_view text);

}  // namespace sluice::launcher
