// Where audit lines go.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::metrics {

// Of the thread that writes, but for stop_waiting_at().
class AuditSink {
 public:
  AuditSink() = default;
  virtual ~AuditSink() = default;
  AuditSink(const AuditSink&) = delete;
  AuditSink& operator=(const AuditSink&) = delete;

  // Takes whole lines, waiting for whoever is slow or away. Answers how many are whole in it.
  virtual std::size_t write(std::string_view lines) = 0;

  // From then on nobody is waited for. Any thread.
  virtual void stop_waiting_at(std::chrono::steady_clock::time_point time) noexcept = 0;
};

// As a configuration names them.
struct AuditFile {
  std::string path;  // opened again when it is another file, as logrotate leaves it
};
struct AuditStdout {};
struct AuditJournal {
  std::string socket = "/run/systemd/journal/socket";
};
struct AuditSocket {
  std::string path;  // of a listening stream socket, or of a datagram socket
};
using AuditTarget = std::variant<AuditFile, AuditStdout, AuditJournal, AuditSocket>;

// An error: a file that cannot be opened. A socket may be there later.
Result<std::unique_ptr<AuditSink>> open_audit(const AuditTarget& target);

}  // namespace sluice::metrics
