// Keeps what agents used of their budgets in a file, so that a restart of sluiced gives nobody a
// new one.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/strong.h"
#include "proxy/session/allowance.h"

namespace sluice::proxy {

// A thread of its own writes the file: a slow disk holds up no connection.
class BudgetKeeper {
 public:
  // Counts what `file` says as used; a file that is not there says nothing. Errors: it cannot be
  // read, or is not what was saved, or its directory cannot be written; then nothing is kept.
  static Result<std::unique_ptr<BudgetKeeper>> start(Allowances& allowances, std::string file,
                                                     std::chrono::milliseconds every) {
    return start(allowances, std::move(file), every, Load::yes);
  }
  // With Load::no, `allowances` know more than the file, which is replaced.
  using Load = YesNo<struct LoadTag>;
  static Result<std::unique_ptr<BudgetKeeper>> start(Allowances& allowances, std::string file,
                                                     std::chrono::milliseconds every, Load load);
  // Saves once more, unless it rests.
  ~BudgetKeeper();

  // Saves once more and then leaves the file to another, until go_on(). In force once rests()
  // holds.
  void rest() noexcept { thread_.request_stop(); }
  bool rests() const noexcept { return ended_; }
  void go_on();
  BudgetKeeper(const BudgetKeeper&) = delete;
  BudgetKeeper& operator=(const BudgetKeeper&) = delete;

 private:
  BudgetKeeper(Allowances& allowances, std::string file, std::chrono::milliseconds every) noexcept
      : allowances_(allowances), file_(std::move(file)), every_(every) {}
  Result<void> load();
  void keep(const std::stop_token& stop);
  void save_or_tell();
  // Replaces the file whole (rename(2)) where something changed.
  Result<void> save();

  Allowances& allowances_;
  const std::string file_;
  const std::chrono::milliseconds every_;
  std::string saved_;
  bool told_ = false;  // that it cannot be written
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::atomic<bool> ended_{false};  // the thread has; it stays joinable
  std::jthread thread_;
};

}  // namespace sluice::proxy
