#include "proxy/daemon/budget_keeper.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/fd.h"
#include "base/io.h"
#include "base/log.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t largest_file = std::size_t{64} * 1024 * 1024;

}  // namespace

Result<std::unique_ptr<BudgetKeeper>> BudgetKeeper::start(Allowances& allowances, std::string file,
                                                          std::chrono::milliseconds every) {
  std::unique_ptr<BudgetKeeper> keeper(new BudgetKeeper(allowances, std::move(file)));
  const bool is_there = ::access(keeper->file_.c_str(), F_OK) == 0 || errno != ENOENT;
  if (is_there) {
    const auto text = read_file(keeper->file_, largest_file);
    if (!text) return Failure(text.error());
    const auto restored = allowances.restore(*text, Allowance::Utc::now());
    if (!restored) {
      Error error = restored.error();
      error.what = fmt::format("'{}': {}", keeper->file_, error.what);
      return Failure(std::move(error));
    }
  }
  if (auto saved = keeper->save(); !saved) return Failure(saved.error());
  keeper->thread_ = std::jthread(
      [keeper = keeper.get(), every](const std::stop_token& stop) { keeper->keep(stop, every); });
  return keeper;
}

BudgetKeeper::~BudgetKeeper() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  if (const auto saved = save(); !saved) log::error("{}", to_string(saved.error()));
}

void BudgetKeeper::keep(const std::stop_token& stop, std::chrono::milliseconds every) {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    changed_.wait_for(lock, stop, every, [] { return false; });
    const auto saved = save();
    if (!saved && !told_) log::error("{}", to_string(saved.error()));
    told_ = !saved;
  }
}

Result<void> BudgetKeeper::save() {
  std::string text = allowances_.save(Allowance::Utc::now());
  if (text == saved_) return {};
  const std::string next = file_ + ".new";
  Fd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    return fail_errno(Errc::unavailable, fmt::format("cannot write '{}'", next),
                      "what agents used of their budgets is forgotten at a restart; create the "
                      "directory, or change 'state'");
  }
  if (auto written = write_all(fd.get(), next, text); !written) return Failure(written.error());
  if (::rename(next.c_str(), file_.c_str()) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot replace '{}'", file_));
  }
  saved_ = std::move(text);
  return {};
}

}  // namespace sluice::proxy
