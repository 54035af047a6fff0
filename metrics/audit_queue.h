// Holds audit lines from any thread until the one that writes them comes for them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "metrics/audit.h"
#include "metrics/audit_record.h"

namespace sluice::metrics {

// What the writer takes at a time.
struct AuditBatch {
  AuditRecords records;
  std::size_t lines = 0;
  // Denials of an agent that were left out in a second that has ended.
  std::vector<std::pair<std::string, std::uint64_t>> left_out;
  bool last = false;  // there will be no more
};

// Bounded in lines and bytes, of all agents and of each one. The writer collects: it is woken for a
// line only when it has nothing to do, and by a quarter of the bounds, which is half of what one
// agent may fill; else it looks every `options.collect`.
class AuditQueue {
 public:
  explicit AuditQueue(const AuditOptions& options);

  // Any thread; holds the lock for less than a microsecond. False: lost, there is no room.
  // A denial that is only counted is not lost.
  bool put(const AuditLine& line) noexcept;

  // The writer's: waits for lines, for a second with denials to end, or for stop(). `batch` is what
  // the call before gave; when that had lines, the wait begins with `options.collect`.
  void take(AuditBatch& batch);

  // The next take() is the last one, and does not wait.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;

  // What one agent did in the second `second`, and has in the queue as of batch `batch`.
  struct Share {
    std::uint64_t second = 0;
    unsigned denials = 0;
    std::uint64_t left_out = 0;
    std::uint64_t batch = 0;
    std::size_t lines = 0;
    std::size_t bytes = 0;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };
  using Shares = std::unordered_map<std::string, Share, Hash, std::equal_to<>>;

  Shares::value_type& share_of(const std::string& agent);
  bool is_left_out(Shares::value_type& agent, const AuditLine& line);
  bool fits(const Share& share, std::size_t bytes) const noexcept;
  bool must_wake() noexcept;
  void wait(std::unique_lock<std::mutex>& lock, Clock::time_point until);
  void end_second(AuditBatch& batch, Shares& old);

  const AuditOptions options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // All that follows is guarded by mutex_.
  AuditRecords records_;
  std::size_t lines_ = 0;
  std::size_t bytes_ = 0;
  std::size_t wake_at_;  // lines; `never` while the writer is busy or already called
  Shares shares_;
  std::vector<Shares::value_type*> left_out_;  // those with left_out in this second
  std::uint64_t second_ = 1;
  std::uint64_t batch_ = 1;
  bool is_second_used_ = false;
  Clock::time_point second_ends_ = Clock::now();
  bool stopping_ = false;
};

}  // namespace sluice::metrics
