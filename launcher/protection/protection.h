// Keeps what would run code outside later as it is while an agent runs, and tells what became of
// it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/plan/machine.h"
#include "launcher/plan/plan.h"
#include "launcher/protection/placeholders.h"
#include "launcher/protection/second_look.h"
#include "launcher/protection/sight.h"

namespace sluice::launcher {

using IsForShow = YesNo<struct IsForShowTag>;  // nothing is run, and nothing written

class Protection {
 public:
  // Looks at what the plan lets the agent write to, and adds to the plan which of it is mounted
  // read-only. A bind of its own below another wins over the other's protection, but not over
  // `protects`: what the policy adds, relative to the workspace.
  static Result<Protection> find(Plan& plan, const Machine& machine,
                                 const std::vector<std::string>& protects, IsForShow for_show);

  // Makes what must exist to be mounted over; what cannot come to be leaves the plan.
  Result<void> stand_in(Plan& plan);

  // What a person should know before the run.
  std::vector<std::string> notices() const;

  // Of what is there now and was not, or was another; while the stand-ins are there.
  void tell_changes(const Say& say) const noexcept;

 private:
  struct Place {
    LookOrder order;
    Sight before;
  };

  std::vector<Place> places_;
  std::unique_ptr<Placeholders> placeholders_;
};

// What is mounted for a sight of `source`, parents before children: each protected path, and each
// directory above it, so that none can be moved away. Of what is missing only what has a stand-in.
std::vector<Shield> shields_of(const Sight& sight, const std::string& source);

}  // namespace sluice::launcher
