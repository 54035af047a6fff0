// Keeps the roots that a person imported: one directory each, where no agent can write.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"
#include "launcher/plan/machine.h"

namespace sluice::launcher {

// Of this user: $XDG_DATA_HOME/sluice/roots; without that variable /var/lib/sluice/roots for root
// and
// ~/.local/share/sluice/roots for everybody else.
std::string roots_directory(const Machine& machine);

// "" for a name that a root may have, as agents are named; else what is wrong with it. "host" is
// taken.
std::string root_name_fault(const std::string& name);

// A directory that becomes a root whole or not at all: what was not committed is removed with it.
class StagedRoot {
 public:
  StagedRoot(std::string directory, std::string path, Fd lock)
      : directory_(std::move(directory)), path_(std::move(path)), lock_(std::move(lock)) {}
  StagedRoot(StagedRoot&& other) noexcept;
  StagedRoot(const StagedRoot&) = delete;
  StagedRoot& operator=(const StagedRoot&) = delete;
  StagedRoot& operator=(StagedRoot&&) = delete;
  ~StagedRoot();

  const std::string& path() const noexcept { return path_; }
  // In place of no other (renameat2(2), RENAME_NOREPLACE).
  Result<void> commit(const std::string& name);

 private:
  std::string directory_;
  std::string path_;
  Fd lock_;
};

// The directory is made with mode 0700, and refused when it is a symbolic link, belongs to somebody
// else or can be written by others. What an import that was killed left there is removed by the
// next one.
class RootStore {
 public:
  explicit RootStore(std::string directory) : directory_(std::move(directory)) {}

  const std::string& directory() const noexcept { return directory_; }
  // By name; empty where there is no store yet.
  Result<std::vector<std::string>> list() const;
  // The directory of a root; the error of an unknown one names those that there are.
  Result<std::string> find(const std::string& name) const;
  // As long as the descriptor is open the root is not deleted.
  Result<Fd> hold(const std::string& name) const;
  Result<StagedRoot> stage(const std::string& name) const;
  Result<void> remove(const std::string& name) const;

 private:
  using Create = YesNo<struct CreateTag>;
  // Locked; without a descriptor where there is no store yet.
  Result<Fd> open(Create create) const;
  std::string path_of(const std::string& name) const { return directory_ + "/" + name; }

  std::string directory_;
};

}  // namespace sluice::launcher
