#include "metrics/audit_sink.h"

#include <fcntl.h>
#include <unistd.h>

#include "metrics/file_sink.h"
#include "metrics/line_sink.h"
#include "metrics/socket_sink.h"

namespace sluice::metrics {
namespace {

using Opened = Result<std::unique_ptr<AuditSink>>;

struct Open {
  Opened operator()(const AuditFile& file) const {
    auto opened = FileSink::open(file.path);
    if (!opened) return Failure(opened.error());
    return std::move(*opened);
  }
  Opened operator()(const AuditStdout&) const {
    Fd copy(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    if (!copy) return fail_errno(Errc::unavailable, "cannot write audit lines to stdout");
    return std::make_unique<LineSink>(std::move(copy));
  }
  Opened operator()(const AuditJournal& journal) const {
    return std::make_unique<SocketSink>(journal.socket, SocketSink::Form::journal_entries);
  }
  Opened operator()(const AuditSocket& socket) const {
    return std::make_unique<SocketSink>(socket.path, SocketSink::Form::lines);
  }
};

}  // namespace

Result<std::unique_ptr<AuditSink>> open_audit(const AuditTarget& target) {
  return std::visit(Open(), target);
}

}  // namespace sluice::metrics
