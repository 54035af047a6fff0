// The names whose files run code outside of the sandbox later, each with its reason.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sluice::launcher {

// What stands in for the run where there is nothing of the name.
enum class StandIn : std::uint8_t {
  none,       // it may be made; the end of the run names it
  directory,  // empty. For files of a work tree too: git does not see an empty directory
  file,       // empty
  own_place,  // a file that says ".": what git takes it to mean without it
};

struct ProtectedName {
  std::string_view name;
  StandIn stand_in = StandIn::none;
  std::string_view reason;
};

// In the git directory of a repository or submodule (gitrepository-layout(5)).
std::span<const ProtectedName> names_of_repository() noexcept;
// In the git directory of a linked worktree, which reads hooks and config of its repository.
std::span<const ProtectedName> names_of_linked_worktree() noexcept;
// Where a person, an editor or a tool begins: the workspace and the work tree of each repository.
std::span<const ProtectedName> names_of_project() noexcept;

// Another version control system, by the directory that makes a work tree its own.
struct OtherSystem {
  std::string_view folder;
  std::string_view reason;               // of a new one
  std::span<const ProtectedName> names;  // in the folder
};
std::span<const OtherSystem> other_systems() noexcept;

// What git writes there itself, and what is therefore only named when it appears.
std::span<const ProtectedName> names_only_watched() noexcept;

}  // namespace sluice::launcher
