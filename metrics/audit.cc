#include "metrics/audit.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "metrics/audit_line.h"
#include "metrics/line_sink.h"

namespace sluice::metrics {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t batch_bytes = std::size_t{64} * 1024;
constexpr std::size_t gap_cap =
    1024;  // agents whose gaps are remembered while nothing can be written

std::size_t weight(const AuditLine& line) noexcept {
  return sizeof(AuditLine) + line.agent.size() + line.session.size() + line.host.size() +
         line.rule.size() + line.method.size() + line.path.size() + line.address.size() +
         line.sni.size() + line.error.size();
}

}  // namespace

class AuditLog::Writer {
 public:
  Writer(Fd fd, std::shared_ptr<AuditCounters> counters, AuditOptions options)
      : options_(options), counters_(std::move(counters)), sink_(std::move(fd)) {
    // Signals are for the thread that asked for them, and SIGPIPE must not end sluiced.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~Writer() {
    sink_.stop_waiting_at(Clock::now() + options_.flush_limit);
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(AuditLine&& line) noexcept try {
    const std::size_t bytes = weight(line);
    const std::lock_guard lock(mutex_);
    Share& share = shares_[line.agent];
    if (line.verdict == Verdict::deny && line.via != Via::event &&
        ++share.denials > options_.denials_per_second) {
      ++share.left_out;
      return;
    }
    if (!fits(share, bytes)) return drop(1);
    queue_.push_back(std::move(line));
    ++share.lines;
    share.bytes += bytes;
    bytes_ += bytes;
    if (queue_.size() == 1) wake_.notify_one();
  } catch (...) {
    drop(1);
  }

 private:
  // What one agent did since the last second began, and has in the queue.
  struct Share {
    unsigned denials = 0;
    std::uint64_t left_out = 0;
    std::size_t lines = 0;
    std::size_t bytes = 0;
  };

  bool fits(const Share& share, std::size_t bytes) const noexcept {
    return queue_.size() < options_.queue_lines && bytes_ + bytes <= options_.queue_bytes &&
           share.lines < (options_.queue_lines + 1) / 2 &&
           share.bytes + bytes <= options_.queue_bytes / 2;
  }

  void drop(std::uint64_t lines) noexcept {
    counters_->dropped.fetch_add(lines, std::memory_order_relaxed);
  }

  void run() {
    for (bool last = false; !last;) {
      std::vector<AuditLine> lines;
      last = take(lines);
      write_out(lines);
    }
  }

  // Waits for lines or for a second with left-out lines to end. True: there will be no more.
  bool take(std::vector<AuditLine>& lines) {
    std::unique_lock lock(mutex_);
    const auto due = [this] { return stopping_ || !queue_.empty(); };
    if (shares_.empty()) {
      wake_.wait(lock, due);
    } else {
      wake_.wait_until(lock, second_ends_, due);
    }
    lines.swap(queue_);
    bytes_ = 0;
    const Clock::time_point now = Clock::now();
    const bool ended = stopping_ || now >= second_ends_;
    if (ended) second_ends_ = now + std::chrono::seconds(1);
    for (auto& [agent, share] : shares_) {
      share.lines = share.bytes = 0;
      if (ended && share.left_out > 0) remember_gap(agent, share.left_out);
    }
    if (ended) shares_.clear();
    return stopping_;
  }

  void remember_gap(const std::string& agent, std::uint64_t count) {
    const bool known = gaps_.size() < gap_cap || gaps_.contains(agent);
    gaps_[known ? agent : std::string("other")] += count;
  }

  void write_out(const std::vector<AuditLine>& lines) {
    auto next = lines.begin();
    do {
      std::string text;
      const std::size_t about_gaps = append_gaps(text);
      std::size_t count = 0;
      for (; next != lines.end() && text.size() < batch_bytes; ++next, ++count) {
        append_json(text, *next);
      }
      if (text.empty()) return;
      const std::size_t whole = sink_.write(text);
      if (whole >= about_gaps) {
        gaps_.clear();
        told_dropped_ += telling_dropped_;
      }
      counters_->lines.fetch_add(whole, std::memory_order_relaxed);
      drop(count - (whole > about_gaps ? whole - about_gaps : 0));
    } while (next != lines.end());
  }

  // Lines about what is missing come before the lines after it. Answers how many.
  std::size_t append_gaps(std::string& text) {
    const auto now = std::chrono::system_clock::now();
    for (const auto& [agent, count] : gaps_) {
      append_json(text, Gap{now, agent, "denials_left_out", count});
    }
    telling_dropped_ = counters_->dropped.load(std::memory_order_relaxed) - told_dropped_;
    if (telling_dropped_ == 0) return gaps_.size();
    append_json(text, Gap{now, "", "lines_dropped", telling_dropped_});
    return gaps_.size() + 1;
  }

  const AuditOptions options_;
  const std::shared_ptr<AuditCounters> counters_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<AuditLine> queue_;  // guarded by mutex_, as all up to stopping_
  std::size_t bytes_ = 0;
  std::unordered_map<std::string, Share> shares_;  // cleared every second
  bool stopping_ = false;

  // Of the thread alone.
  LineSink sink_;
  Clock::time_point second_ends_ = Clock::now();
  std::map<std::string, std::uint64_t> gaps_;
  std::uint64_t told_dropped_ = 0;
  std::uint64_t telling_dropped_ = 0;
  std::thread thread_;
};

AuditLog::AuditLog() noexcept = default;
AuditLog::AuditLog(Fd fd, std::shared_ptr<AuditCounters> counters, AuditOptions options)
    : writer_(std::make_unique<Writer>(std::move(fd), std::move(counters), options)) {}
AuditLog::~AuditLog() = default;

void AuditLog::write(AuditLine&& line) noexcept {
  if (writer_) writer_->write(std::move(line));
}

}  // namespace sluice::metrics
