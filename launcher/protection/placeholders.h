// Makes what must exist to be mounted over, for as long as a run lasts, and removes it again.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/protection/names.h"

namespace sluice::launcher {

struct Wanted {
  std::string path;  // absolute; no symbolic link leads to it
  StandIn kind = StandIn::directory;
};

// A journal of each run lies in STATE/sluice/placeholders, locked while the run lives: what a run
// that was killed left is removed by the next one, of whatever workspace. Only what is untouched is
// removed, and only what no other live run may have mounted over: that run's mount would go with
// it.
class Placeholders {
 public:
  // Before anything is looked at: from here on what others have made below `sources`, which this
  // run's agent may write to, stays.
  static Result<Placeholders> begin(const std::string& state_directory,
                                    const std::vector<std::string>& sources);
  Placeholders(Placeholders&&) noexcept = default;
  Placeholders& operator=(Placeholders&&) = delete;
  Placeholders(const Placeholders&) = delete;
  Placeholders& operator=(const Placeholders&) = delete;
  ~Placeholders();

  // What is at a path already stays as it is. No other run makes its own meanwhile.
  Result<void> make(const std::vector<Wanted>& wanted);

  // Wanted paths at which there is nothing: the agent cannot make them either, because the file
  // system is read-only or the directory another user's or missing.
  const std::vector<std::string>& impossible() const noexcept { return impossible_; }

 private:
  Placeholders(Fd store, Fd journal) : store_(std::move(store)), journal_(std::move(journal)) {}

  Fd store_;
  Fd journal_;
  std::vector<std::string> impossible_;
};

// STATE/sluice/placeholders.
std::string placeholder_directory(const std::string& state_directory);

}  // namespace sluice::launcher
