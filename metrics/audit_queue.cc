#include "metrics/audit_queue.h"

#include <algorithm>
#include <limits>

namespace sluice::metrics {
namespace {

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
constexpr std::uint64_t seconds_remembered = 64;  // names of agents, after which those gone go

// For a lock that nobody holds for long: sleeping costs two system calls and a switch, and the one
// who lets go of it would pay for the wake.
std::unique_lock<std::mutex> lock_soon(std::mutex& mutex) {
  for (int tries = 0; tries < 50; ++tries) {
    if (mutex.try_lock()) return {mutex, std::adopt_lock};
  }
  return std::unique_lock(mutex);
}

}  // namespace

AuditQueue::AuditQueue(const AuditOptions& options) : options_(options), wake_at_(never) {}

bool AuditQueue::put(const AuditLine& line) noexcept try {
  const std::size_t bytes = weight(line);
  bool wakes = false;
  {
    const auto lock = lock_soon(mutex_);
    auto& agent = share_of(line.agent);
    if (is_left_out(agent, line)) return true;
    Share& share = agent.second;
    if (!fits(share, bytes)) return false;
    records_.push(line);
    ++lines_;
    bytes_ += bytes;
    ++share.lines;
    share.bytes += bytes;
    wakes = must_wake();
  }
  if (wakes) wake_.notify_one();
  return true;
} catch (...) {
  return false;
}

AuditQueue::Shares::value_type& AuditQueue::share_of(const std::string& agent) {
  auto found = shares_.find(std::string_view(agent));
  if (found == shares_.end()) found = shares_.emplace(agent, Share()).first;
  Share& share = found->second;
  if (share.second != second_) {
    is_second_used_ = true;
    share.second = second_;
    share.denials = 0;
    share.left_out = 0;
  }
  if (share.batch != batch_) {
    share.batch = batch_;
    share.lines = share.bytes = 0;
  }
  return *found;
}

bool AuditQueue::is_left_out(Shares::value_type& agent, const AuditLine& line) {
  if (line.verdict != Verdict::deny || line.via == Via::event) return false;
  Share& share = agent.second;
  if (++share.denials <= options_.denials_per_second) return false;
  if (share.left_out == 0) left_out_.push_back(&agent);
  ++share.left_out;
  return true;
}

bool AuditQueue::fits(const Share& share, std::size_t bytes) const noexcept {
  return lines_ < options_.queue_lines && bytes_ + bytes <= options_.queue_bytes &&
         share.lines < (options_.queue_lines + 1) / 2 &&
         share.bytes + bytes <= options_.queue_bytes / 2;
}

bool AuditQueue::must_wake() noexcept {
  if (wake_at_ == never) return false;
  if (lines_ < wake_at_ && bytes_ < options_.queue_bytes / 4) return false;
  wake_at_ = never;
  return true;
}

void AuditQueue::wait(std::unique_lock<std::mutex>& lock, Clock::time_point until) {
  const auto called = [this] { return stopping_ || wake_at_ == never; };
  // A wait_until() the end of time overflows in libstdc++.
  if (until == Clock::time_point::max()) {
    wake_.wait(lock, called);
  } else {
    wake_.wait_until(lock, until, called);
  }
  wake_at_ = never;
}

void AuditQueue::take(AuditBatch& batch) {
  const bool has_written = batch.lines > 0;
  batch.records.clear();
  batch.left_out.clear();
  Shares old;
  std::unique_lock lock(mutex_);
  if (has_written) {
    wake_at_ = std::max<std::size_t>(options_.queue_lines / 4, 1);
    const bool is_full = lines_ >= wake_at_ || bytes_ >= options_.queue_bytes / 4;
    if (!is_full) wait(lock, Clock::now() + options_.collect);
  }
  if (lines_ == 0 && !stopping_) {
    wake_at_ = 1;
    wait(lock, is_second_used_ ? second_ends_ : Clock::time_point::max());
  }
  wake_at_ = never;
  records_.move_to(batch.records);
  batch.lines = std::exchange(lines_, 0);
  bytes_ = 0;
  ++batch_;
  batch.last = stopping_;
  if (stopping_ || Clock::now() >= second_ends_) end_second(batch, old);
}

// Right after the lines were taken: all that shares_ knows then begins anew.
void AuditQueue::end_second(AuditBatch& batch, Shares& old) {
  second_ends_ = Clock::now() + std::chrono::seconds(1);
  for (const auto* agent : left_out_) {
    batch.left_out.emplace_back(agent->first, agent->second.left_out);
  }
  left_out_.clear();
  is_second_used_ = false;
  ++second_;
  if (second_ % seconds_remembered == 0) old.swap(shares_);
}

void AuditQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
}

}  // namespace sluice::metrics
