// Audit lines to whoever listens on a Unix socket, now or later.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "metrics/audit_sink.h"

namespace sluice::metrics {

// A stream socket gets the lines as they are; a datagram socket one line, or one journal entry, a
// datagram, without the newline. While nobody listens it is tried again and the lines wait in the
// queue: what does not fit there is lost and counted. A line that a connection broke off is sent
// whole over the next one. One that is longer than a datagram may be is lost.
class SocketSink : public AuditSink {
 public:
  enum class Form : std::uint8_t { lines, journal_entries };

  SocketSink(std::string path, Form form);

  std::size_t write(std::string_view lines) override;
  void stop_waiting_at(std::chrono::steady_clock::time_point time) noexcept override;

 private:
  enum class Sent : std::uint8_t { whole, too_long, gone };

  bool is_late() const noexcept;
  bool connect();
  int connect_as(int type);  // 0, or why not
  Sent send_line(std::string_view line);
  Sent send_bytes(std::string_view bytes);
  void tell(int error_number);

  const std::string path_;
  const Form form_;
  Fd socket_;
  bool is_stream_ = false;
  bool failing_ = false;
  std::atomic<std::chrono::steady_clock::rep> deadline_;
};

}  // namespace sluice::metrics
