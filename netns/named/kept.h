// Agent networks whose registration no process holds: looked at, served again, ended.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "netns/named/lease.h"
#include "netns/named/state.h"

namespace sluice::netns {

// The fact of a state that is not to be served any more: a sentence, what way out appeared.
inline constexpr const char* way_out_fact = "way_out";

enum class Condition : std::uint8_t {
  served,     // somebody holds its listeners
  unserved,   // it is there, and every connection is refused
  way_out,    // it was taken from sluiced, see way_out_fact
  half_made,  // whoever made or removed it did not come to the end
  gone,       // its namespace is gone, or another one has its name
  ended,      // its supervisor is gone
};
std::string_view condition_name(Condition condition) noexcept;
// Needs root for others' namespaces.
Condition look_at(const LeaseState& state);

// Opens its listeners again and takes the lease, unless somebody holds them. Refused when it has a
// way out, as a named network that has got a link. To be called under the folder's lock.
enum class Service : std::uint8_t { was_there, again };
Result<Service> serve_again(const LeaseState& state);

// Takes the lease of a network that was made, and writes down that it is whole. Where that fails,
// all of it is removed again. To be called under the folder's lock.
Result<void> register_network(const StateFolder& folder, LeaseState state,
                              const std::vector<RoleSocket>& sockets);

// Ends lease, name and file of a named network; lease and file of another. Killed half-way, it
// leaves a state that is half_made. To be called under the folder's lock.
Result<LeaseEnd> remove_network(const StateFolder& folder, LeaseState state);
// The same of one that nobody has asked a lease for.
Result<void> remove_unregistered(const StateFolder& folder, const LeaseState& state);
// remove_unregistered() for `error`, which is told; its hint says so where something stays.
Failure take_back(const StateFolder& folder, const LeaseState& state, Error error);

// Removes what is half_made, gone or ended, and files that cannot be read. One sentence for each,
// and an error for each that stays.
struct Collected {
  std::vector<std::string> removed;
  std::vector<Error> failed;
};
Result<Collected> collect_garbage(const StateFolder& folder);

// serve_again() for every explicit lease of that sluiced, or of all. One sentence for each that was
// not served.
struct RestoreReport {
  std::size_t served = 0;
  std::vector<std::string> again;
  std::vector<Error> failed;
};
Result<RestoreReport> restore_all(const StateFolder& folder, const std::string& proxy = "");

// Whether sluiced keeps its registration without a process of ours.
constexpr bool is_explicit(LeaseState::Kind kind) noexcept {
  return kind == LeaseState::Kind::named || kind == LeaseState::Kind::cni;
}

}  // namespace sluice::netns
