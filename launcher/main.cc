// sluice: runs untrusted agents so that the only way out is a policy.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <exception>

#include "launcher/arguments.h"
#include "launcher/commands/prove.h"
#include "launcher/commands/run.h"

namespace {

using namespace sluice::launcher;

struct Execute {
  int operator()(const RunOptions& options) const { return run(options); }
  int operator()(const ProveOptions& options) const {
    return prove(options.run, AsJson(options.json));
  }
  int operator()(const PolicyAction& action) const { return action.run(); }
  int operator()(const Farewell& farewell) const {
    fmt::print("{}", farewell.out);
    fmt::print(stderr, "{}", farewell.err);
    return farewell.status;
  }
};

// A descriptor of ours that became number 0, 1 or 2 would be handed to the agent.
bool fill_standard_descriptors() {
  for (;;) {
    const int fd = ::open("/dev/null", O_RDWR);
    if (fd < 0) return false;
    if (fd <= STDERR_FILENO) continue;
    ::close(fd);
    return true;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (!fill_standard_descriptors()) return 125;
    return std::visit(Execute{}, parse_arguments({argv + 1, argv + argc}));
  } catch (const std::exception& bug) {
    fmt::print(stderr, "sluice: error: {}\nhint: this is a bug, please report it\n", bug.what());
    return 125;
  }
}
