#include "launcher/commands/prove.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/fd.h"
#include "base/io.h"
#include "launcher/commands/run.h"
#include "launcher/probes/proof.h"

namespace sluice::launcher {
namespace {

constexpr int failed_status = 125;
constexpr std::size_t most_bytes = std::size_t{1024} * 1024;

// While it lives, descriptor 1 is a file in memory, which the sandbox inherits.
class OutputAside {
 public:
  static Result<OutputAside> begin() {
    Fd file(::memfd_create("outcomes", MFD_CLOEXEC));
    Fd before(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!file || !before || ::dup2(file.get(), STDOUT_FILENO) < 0) {
      return fail_errno(Errc::unavailable, "cannot keep the outcomes in memory");
    }
    return OutputAside(std::move(file), std::move(before));
  }

  // Puts descriptor 1 back and answers what was written meanwhile.
  Result<std::string> end() {
    if (::dup2(before_.get(), STDOUT_FILENO) < 0 || ::lseek(file_.get(), 0, SEEK_SET) != 0) {
      return fail_errno(Errc::bug, "cannot read the outcomes");
    }
    return read_fd(file_.get(), "the outcomes", most_bytes);
  }

 private:
  OutputAside(Fd file, Fd before) : file_(std::move(file)), before_(std::move(before)) {}

  Fd file_;
  Fd before_;
};

int complain(const Error& error) {
  fmt::print(stderr, "sluice: {}\n", to_string(error));
  return failed_status;
}

}  // namespace

int prove(const RunOptions& options, AsJson as_json) {
  RunOptions asked = options;
  asked.log_exec = false;  // nobody but the probes runs
  if (options.dry_run) return run(asked, Purpose::proof);
  auto aside = OutputAside::begin();
  if (!aside) return complain(aside.error());
  const int status = run(asked, Purpose::proof);
  const auto text = aside->end();
  if (status != 0 && status != failed_status) {
    complain({Errc::unavailable, "the probes were ended before they were through", "", {}});
  }
  if (status != 0) return status;
  if (!text) return complain(text.error());
  const auto outcomes = probes::read_outcomes(*text);
  fmt::print("{}", as_json ? probes::to_json(outcomes) : probes::to_table(outcomes));
  return std::all_of(outcomes.begin(), outcomes.end(), probes::holds) ? 0 : 1;
}

}  // namespace sluice::launcher
