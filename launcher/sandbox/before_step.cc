#include "launcher/sandbox/steps.h"

namespace sluice::launcher {

// Alone in its file: the linker takes it only where a program has none of its own.
Result<void> before_step(const StepInfo&) { return {}; }

}  // namespace sluice::launcher
