// Fails a step of the sandbox by name: linked in place of the launcher's own, which does nothing.
#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/fd.h"
#include "base/io.h"
#include "launcher/sandbox/steps.h"

namespace sluice::launcher {
namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Read when the program starts: a step overwrites the environment.
const std::string step_at_fault = variable("SLUICE_TEST_STEP");
const std::string manner = variable("SLUICE_TEST_MANNER");    // fail, die, wait or leak
const std::string wait_on = variable("SLUICE_TEST_WAIT_ON");  // a FIFO; "": standard input

// For the self-check to find: a descriptor that the agent would inherit.
Result<void> leave_a_way_out() {
  if (::fcntl(STDIN_FILENO, F_DUPFD, STDERR_FILENO + 1) >= 0) return {};
  return fail_errno(Errc::bug, "fcntl");
}

}  // namespace

Result<void> before_step(const StepInfo& step) {
  if (step_at_fault != step.name) return {};
  if (manner == "fail") return fail(Errc::not_permitted, "a test made it fail", "end the test");
  if (manner == "leak") return leave_a_way_out();
  if (manner == "die") ::kill(::getpid(), SIGKILL);
  // Pid 1 is immune to its own signals (pid_namespaces(7)).
  if (manner == "die") ::_exit(1);
  (void)write_all(STDERR_FILENO, "stderr", fmt::format("waiting at {}\n", step.name));
  const Fd fifo(wait_on.empty() ? -1 : ::open(wait_on.c_str(), O_RDONLY | O_CLOEXEC));
  char ignored = 0;
  (void)!::read(fifo ? fifo.get() : STDIN_FILENO, &ignored, 1);
  return {};
}

}  // namespace sluice::launcher
