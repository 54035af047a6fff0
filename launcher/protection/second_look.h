// Looks again at the end of a run, and tells what became of what runs code outside later, whatever
// happens meanwhile.
#pragma once

#include <functional>
#include <string_view>

#include "launcher/protection/sight.h"

namespace sluice::launcher {

// Is handed a line as soon as there is one, so that none is lost where the next one cannot be made.
using Say = std::function<void(std::string_view line)>;

// A line each for what is there now and was not, or was another: at most a hundred. The others are
// counted, and so are those for which there is no memory.
void tell_changes(const Sight& before, const Sight& now, const Say& say);

// Looks at `order` again and tells of it. What the look throws (an agent may make it run out of
// memory) ends it as one that did not see everything; what it had found by then is told.
void look_again(const LookOrder& order, const Sight& before, const Say& say) noexcept;

}  // namespace sluice::launcher
