// What is written down of each agent network that outlives the command that made it, for gc and
// restore.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::netns {

// One registration, and all that was made for it.
struct LeaseState {
  enum class Kind : std::uint8_t {
    named,     // /run/netns/NAME, explicit lease
    cni,       // a pod's, explicit lease
    oci,       // a container's, by a detached supervisor of the OCI hook
    attached,  // by a detached supervisor of `attach`
  };
  Kind kind = Kind::named;
  // With `kind` the name of the file: at most max_state_id letters, digits, '.', '_', '-', the
  // first a letter or a digit.
  std::string id;
  std::string agent;
  std::string netns;                   // path of the namespace; "" when it was given by pid
  std::string proxy;                   // handover socket of the sluiced that serves it
  std::uint64_t netns_cookie = 0;      // SO_NETNS_COOKIE: never used twice while the machine runs
  bool complete = false;               // false: being made, or being removed
  pid_t supervisor = 0;                // of Kind::oci and Kind::attached
  std::uint64_t supervisor_born = 0;   // start_time_of(supervisor): pids are used again
  std::vector<std::string> withdrawn;  // sentences: what is not promised about this network
  std::map<std::string, std::string> facts;  // what its kind needs besides: interfaces, addresses
  friend bool operator==(const LeaseState&, const LeaseState&) = default;
};
inline constexpr std::size_t max_state_id = 200;

std::string_view kind_name(LeaseState::Kind kind) noexcept;
// As agents are named: [A-Za-z0-9][A-Za-z0-9._-]{0,62}.
bool is_valid_name(std::string_view name) noexcept;

std::string encode(const LeaseState& state);
// Unknown keys, wrong types and other versions are errors.
Result<LeaseState> decode_state(std::string_view text);

// Field 22 of /proc/PID/stat, proc(5); nothing when there is no such process.
std::optional<std::uint64_t> start_time_of(pid_t pid);

inline constexpr std::string_view default_state_folder = "/run/sluice/netns";

// The folder of those files. Write what you are about to make, then make it; remove it, then its
// file. Hold lock() from before the first write until the last, so that gc never meets half of it.
class StateFolder {
 public:
  // Makes it, mode 0700, with the folders above it. Refused when it is a symbolic link, another
  // user's, or open to others: whoever can write there chooses what root removes.
  static Result<StateFolder> open(std::string path = std::string(default_state_folder));

  // Waits for other programs that hold it, at most `patience`. Released when the Fd is closed, also
  // by SIGKILL; a child that outlives the caller must close it.
  Result<Fd> lock(std::chrono::milliseconds patience = std::chrono::seconds(60)) const;

  // Whole or not at all; replaces what is there.
  Result<void> write(const LeaseState& state) const;
  // Nothing when there is none.
  Result<std::optional<LeaseState>> read(LeaseState::Kind kind, std::string_view id) const;
  // With what a killed write() left of it. What is not there is removed already.
  Result<void> remove(LeaseState::Kind kind, std::string_view id) const;

  // The one in the file of this name, as inotify(7) tells it; nothing when there is none. An error:
  // it cannot be read as one.
  Result<std::optional<LeaseState>> read_file(const std::string& name) const;

  struct Listing {
    std::vector<LeaseState> states;    // sorted by kind and id
    std::vector<std::string> damaged;  // names of files that cannot be read as one
  };
  Result<Listing> list() const;
  // A file that list() calls damaged, and what a killed write() left.
  Result<void> remove_file(const std::string& name) const;

  const std::string& path() const noexcept { return path_; }

 private:
  StateFolder(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  Fd fd_;
};

}  // namespace sluice::netns
