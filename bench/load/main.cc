// bench_load: the load, and the origin it asks for, of the measurements in ../proxies.py.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <map>

#include "bench/load/modes.h"
#include "bench/load/sockets.h"

namespace sluice::bench {
namespace {

// What the clock of a mode does not bound: opening, finishing, moving --bytes.
constexpr double grace_seconds = 300;

// Ends with whoever started it, and in any case.
void bound(const Options& options) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::alarm(static_cast<unsigned>(options.warmup + options.seconds * 3 + grace_seconds));
}

int run(const std::vector<std::string>& words) {
  if (!words.empty() && (words[0] == "help" || words[0] == "--help")) {
    std::fputs(usage().c_str(), stdout);
    return 0;
  }
  const auto options = parse_options(words);
  if (!options) {
    std::fprintf(stderr, "%s\n", to_string(options.error()).c_str());
    return 2;
  }
  bound(*options);
  std::signal(SIGPIPE, SIG_IGN);  // sendfile(2) has no MSG_NOSIGNAL
  raise_descriptor_limit();
  static const std::map<std::string_view, Result<int> (*)(const Options&)> modes = {
      {"origin", run_origin},  {"connect", run_steady}, {"get", run_steady},
      {"refused", run_steady}, {"bulk", run_bulk},      {"idle", run_idle},
      {"flood", run_flood},    {"agents", run_agents},
  };
  const auto status = modes.at(options->mode)(*options);
  if (!status) {
    std::fprintf(stderr, "%s\n", to_string(status.error()).c_str());
    return 1;
  }
  return *status;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  try {
    return sluice::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "error: %s\n", problem.what());
    return 1;
  }
}
