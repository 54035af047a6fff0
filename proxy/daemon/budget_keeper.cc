#include "proxy/daemon/budget_keeper.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/fd.h"
#include "base/io.h"
#include "base/log.h"
#include "base/signals.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t largest_file = std::size_t{64} * 1024 * 1024;

}  // namespace

Result<void> BudgetKeeper::load() {
  const bool is_there = ::access(file_.c_str(), F_OK) == 0 || errno != ENOENT;
  if (!is_there) return {};
  const auto text = read_file(file_, largest_file);
  if (!text) return Failure(text.error());
  auto restored = allowances_.restore(*text, Allowance::Utc::now());
  if (restored) return {};
  Error error = restored.error();
  error.what = fmt::format("'{}': {}", file_, error.what);
  return Failure(std::move(error));
}

Result<std::unique_ptr<BudgetKeeper>> BudgetKeeper::start(Allowances& allowances, std::string file,
                                                          std::chrono::milliseconds every,
                                                          Load load) {
  std::unique_ptr<BudgetKeeper> keeper(new BudgetKeeper(allowances, std::move(file), every));
  if (load == Load::yes) {
    if (auto loaded = keeper->load(); !loaded) return Failure(loaded.error());
  }
  if (auto saved = keeper->save(); !saved) return Failure(saved.error());
  keeper->go_on();
  return keeper;
}

void BudgetKeeper::go_on() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  ended_ = false;
  thread_ =
      start_without_signals<std::jthread>([this](const std::stop_token& stop) { keep(stop); });
}

BudgetKeeper::~BudgetKeeper() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

void BudgetKeeper::save_or_tell() {
  const auto saved = save();
  if (!saved && !told_) log::error("{}", without_kind(saved.error()));
  told_ = !saved;
}

void BudgetKeeper::keep(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    changed_.wait_for(lock, stop, every_, [] { return false; });
    save_or_tell();
  }
  save_or_tell();  // the stop may have come while the last time was under way
  ended_ = true;
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
  // Or a crash of the machine could leave an empty file under the name (rename(2) is journalled
  // before the data).
  if (::fsync(fd.get()) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot write '{}'", next));
  }
  if (::rename(next.c_str(), file_.c_str()) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot replace '{}'", file_));
  }
  saved_ = std::move(text);
  return {};
}

}  // namespace sluice::proxy
