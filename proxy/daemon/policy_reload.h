// Takes a changed policy, on a thread of its own: reading and compiling 100,000 rules must hold up
// no connection.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "proxy/daemon/policy_edition.h"
#include "proxy/daemon/policy_watch.h"

namespace sluice::proxy {

// What came of reading the policy again.
struct Reloaded {
  LastReload outcome;
  // None: it cannot be used, or it is what is in force already.
  std::optional<PolicyEdition> edition;
};

// Reads the policy when its files have changed, a moment after the last change, and when asked.
// Changes and wishes that come during a reading are one more reading. Nothing is told of files
// whose bytes are what they were.
class PolicyReload {
 public:
  struct Options {
    std::chrono::milliseconds quiet{200};     // no event for so long: whoever writes is done
    std::chrono::milliseconds longest{2000};  // after the first event, quiet or not
    std::size_t most_watches = 4096;
  };
  // Called on the thread, one after the other.
  using Tell = std::function<void(Reloaded)>;

  // `in_force` was read of `in_force.path`. What has changed since is found at once. Fails when the
  // kernel has no eventfd(2) to give.
  static Result<std::unique_ptr<PolicyReload>> start(const PolicyEdition& in_force, Tell tell,
                                                     Options options);
  // Waits for a reading that is under way.
  ~PolicyReload();
  PolicyReload(const PolicyReload&) = delete;
  PolicyReload& operator=(const PolicyReload&) = delete;

  // Reads at once, and tells what came of it also when nothing has changed. Any thread.
  void ask() noexcept;

 private:
  enum class Wake : std::uint8_t { changed, asked, stop };

  PolicyReload(const PolicyEdition& in_force, Tell tell, Options options);
  void run();
  Wake wait();
  void watch();
  Result<std::vector<allowlists::Source>> read_undisturbed();
  void read(Wake why);
  void bury();
  void fail(std::vector<Error> errors);

  const std::string path_;
  const Tell tell_;
  const Options options_;
  PolicyWatch watch_;
  Fd bell_;  // eventfd(2)
  std::atomic<bool> stopping_{false};
  // Of the thread.
  bool watch_failure_told_ = false;
  std::string in_force_;  // digest
  std::shared_ptr<const allowlists::Policy> policy_;
  // Editions that somebody may still hold: their last holder is this thread, since freeing 100,000
  // rules takes its time.
  std::vector<std::shared_ptr<const allowlists::Policy>> retired_;
  std::string last_failed_;  // digest of what could not be used, or why there was nothing to read
  std::thread thread_;
};

}  // namespace sluice::proxy
