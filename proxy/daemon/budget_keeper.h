// Keeps what agents used of their budgets in a file, so that a restart of sluiced gives nobody a
// new one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "proxy/session/allowance.h"

namespace sluice::proxy {

// A thread of its own writes the file: a slow disk holds up no connection.
class BudgetKeeper {
 public:
  // Counts what `file` says as used; a file that is not there says nothing. Errors: it cannot be
  // read, or is not what was saved, or its directory cannot be written; then nothing is kept.
  static Result<std::unique_ptr<BudgetKeeper>> start(Allowances& allowances, std::string file,
                                                     std::chrono::milliseconds every);
  // Saves once more.
  ~BudgetKeeper();
  BudgetKeeper(const BudgetKeeper&) = delete;
  BudgetKeeper& operator=(const BudgetKeeper&) = delete;

 private:
  BudgetKeeper(Allowances& allowances, std::string file) noexcept
      : allowances_(allowances), file_(std::move(file)) {}
  void keep(const std::stop_token& stop, std::chrono::milliseconds every);
  // Replaces the file whole (rename(2)) where something changed.
  Result<void> save();

  Allowances& allowances_;
  const std::string file_;
  std::string saved_;
  bool told_ = false;  // that it cannot be written
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread thread_;
};

}  // namespace sluice::proxy
