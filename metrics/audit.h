// One JSON line per decision.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/reason.h"
#include "metrics/audit_sink.h"
#include "metrics/via.h"

namespace sluice::metrics {

// Text fields may hold whatever an agent chose: they are escaped when the line is written.
struct AuditLine {
  std::chrono::system_clock::time_point time = std::chrono::system_clock::now();
  std::string agent;
  std::string session;
  Via via = Via::event;
  std::string host;
  std::uint16_t port = 0;
  Verdict verdict = Verdict::deny;
  Reason reason = Reason::internal;
  std::optional<Reason> would_deny;  // report mode: what enforcement would have said
  std::string rule;
  std::string method;  // key left out when empty, as for path, address and sni
  std::string path;
  std::string address;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::chrono::milliseconds duration{0};  // key "ms"
  std::string sni;
  std::string error;
  // JSON members, `,"name":value` each, in place of all but time, agent and via: of what is no
  // decision.
  std::string members;
};

// The line as it stands in the file, newline included.
std::string to_json(const AuditLine& line);

// Shared by the log and the metrics (Registry::audit()).
struct AuditCounters {
  std::atomic<std::uint64_t> lines{0};  // written
  std::atomic<std::uint64_t> dropped{
      0};  // lost: queue full or write failed; not those sampled away
};

class Recent;

struct AuditOptions {
  std::size_t queue_lines = 8192;
  std::size_t queue_bytes = std::size_t{16} * 1024 * 1024;
  unsigned denials_per_second = 200;  // per agent, at least 1; the rest is counted, not written
  std::chrono::milliseconds flush_limit{2000};  // how long the destructor waits for a stuck reader
  std::chrono::milliseconds collect{20};  // lines that follow on others wait so long to be written
  Recent* recent = nullptr;               // is told of every line; outlives the log
};

// Formats and writes through one thread of its own, which writes the first line after a pause at
// once and then what comes in each `collect`. One agent can fill at most half of the queue.
class AuditLog {
 public:
  // Off: write() does nothing.
  AuditLog() noexcept;
  // `fd` is a file opened O_APPEND, a pipe, a terminal or a socket. No descriptor or no sink:
  // nothing is written, and only `options.recent` hears of the lines. Starts the thread: construct
  // after enclose() and fork(). Every signal is blocked in it.
  AuditLog(Fd fd, std::shared_ptr<AuditCounters> counters, AuditOptions options = {});
  AuditLog(std::unique_ptr<AuditSink> sink, std::shared_ptr<AuditCounters> counters,
           AuditOptions options = {});
  // Writes what is queued, for at most `flush_limit`.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Any thread. Copies the line and allocates nothing as a rule. Never waits for the file; what
  // does not fit is dropped and counted. Lines of one thread stay in order.
  void write(const AuditLine& line) noexcept;

 private:
  class Writer;
  std::unique_ptr<Writer> writer_;
};

}  // namespace sluice::metrics
