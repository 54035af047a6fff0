#include "metrics/audit.h"

#include <map>
#include <thread>
#include <utility>

#include "base/signals.h"
#include "metrics/audit_line.h"
#include "metrics/audit_queue.h"
#include "metrics/line_sink.h"
#include "metrics/recent.h"

namespace sluice::metrics {
namespace {

constexpr std::size_t batch_bytes = std::size_t{64} * 1024;  // of one write(2)
constexpr std::size_t gap_cap =
    1024;  // agents whose gaps are remembered while nothing can be written

}  // namespace

class AuditLog::Writer {
 public:
  Writer(std::unique_ptr<AuditSink> sink, std::shared_ptr<AuditCounters> counters,
         const AuditOptions& options)
      : flush_limit_(options.flush_limit),
        recent_(options.recent),
        counters_(std::move(counters)),
        queue_(options),
        sink_(std::move(sink)) {
    thread_ = start_without_signals<std::thread>([this] { run(); });
  }

  ~Writer() {
    if (sink_) sink_->stop_waiting_at(std::chrono::steady_clock::now() + flush_limit_);
    queue_.stop();
    thread_.join();
  }

  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(const AuditLine& line) noexcept {
    if (!queue_.put(line)) drop(1);
  }

 private:
  void drop(std::uint64_t lines) noexcept {
    counters_->dropped.fetch_add(lines, std::memory_order_relaxed);
  }

  void run() {
    text_.reserve(batch_bytes + batch_bytes / 8);
    for (AuditBatch batch; !batch.last;) {
      queue_.take(batch);
      for (const auto& [agent, count] : batch.left_out) remember_gap(agent, count);
      write_out(batch);
    }
  }

  void remember_gap(const std::string& agent, std::uint64_t count) {
    if (recent_ != nullptr) recent_->leave_out(agent, count);
    const bool known = gaps_.size() < gap_cap || gaps_.contains(agent);
    gaps_[known ? agent : std::string("other")] += count;
  }

  void write_out(const AuditBatch& batch) {
    begin_text();
    batch.records.for_each(line_, [this] {
      const std::size_t begin = text_.size();
      append_json(text_, line_);
      if (recent_ != nullptr) recent_->add(line_, std::string_view(text_).substr(begin));
      ++lines_in_text_;
      if (text_.size() < batch_bytes) return;
      write_text();
      begin_text();
    });
    write_text();
  }

  // Lines about what is missing come before the lines after it.
  void begin_text() {
    text_.clear();
    lines_in_text_ = 0;
    lines_about_gaps_ = append_gaps();
  }

  void write_text() {
    if (text_.empty()) return;
    if (!sink_) {
      gaps_.clear();
      told_dropped_ += telling_dropped_;
      return;
    }
    const std::size_t whole = sink_->write(text_);
    if (whole >= lines_about_gaps_) {
      gaps_.clear();
      told_dropped_ += telling_dropped_;
    }
    counters_->lines.fetch_add(whole, std::memory_order_relaxed);
    drop(lines_in_text_ - (whole > lines_about_gaps_ ? whole - lines_about_gaps_ : 0));
  }

  // Answers how many lines.
  std::size_t append_gaps() {
    telling_dropped_ = counters_->dropped.load(std::memory_order_relaxed) - told_dropped_;
    if (gaps_.empty() && telling_dropped_ == 0) return 0;
    const auto now = std::chrono::system_clock::now();
    for (const auto& [agent, count] : gaps_) {
      append_json(text_, Gap{now, agent, "denials_left_out", count});
    }
    if (telling_dropped_ == 0) return gaps_.size();
    append_json(text_, Gap{now, "", "lines_dropped", telling_dropped_});
    return gaps_.size() + 1;
  }

  const std::chrono::milliseconds flush_limit_;
  Recent* const recent_;
  const std::shared_ptr<AuditCounters> counters_;
  AuditQueue queue_;

  // Of the thread alone.
  const std::unique_ptr<AuditSink> sink_;
  AuditLine line_;
  std::string text_;
  std::size_t lines_in_text_ = 0;
  std::size_t lines_about_gaps_ = 0;
  std::map<std::string, std::uint64_t> gaps_;
  std::uint64_t told_dropped_ = 0;
  std::uint64_t telling_dropped_ = 0;
  std::thread thread_;
};

AuditLog::AuditLog() noexcept = default;
AuditLog::AuditLog(Fd fd, std::shared_ptr<AuditCounters> counters, AuditOptions options)
    : AuditLog(fd ? std::make_unique<LineSink>(std::move(fd)) : nullptr, std::move(counters),
               options) {}
AuditLog::AuditLog(std::unique_ptr<AuditSink> sink, std::shared_ptr<AuditCounters> counters,
                   AuditOptions options)
    : writer_(std::make_unique<Writer>(std::move(sink), std::move(counters), options)) {}
AuditLog::~AuditLog() = default;

void AuditLog::write(const AuditLine& line) noexcept {
  if (writer_) writer_->write(line);
}

}  // namespace sluice::metrics
