// A file of audit lines, by its path: whoever renames or removes it gets a new one.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "metrics/audit_sink.h"
#include "metrics/line_sink.h"

namespace sluice::metrics {

// Looks before each write whether the path still leads to the open file, which costs one stat(2) of
// each batch; no signal is needed. What was written until then is in the file that was renamed.
class FileSink : public AuditSink {
 public:
  // Created with mode 0640 where there is none, and appended to.
  static Result<std::unique_ptr<FileSink>> open(std::string path);

  std::size_t write(std::string_view lines) override;
  void stop_waiting_at(std::chrono::steady_clock::time_point time) noexcept override;

 private:
  explicit FileSink(std::string path) : path_(std::move(path)) {}

  Result<Fd> open_path() const;
  void use(Fd fd);
  bool is_still_there() const;

  const std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool told_ = false;  // that the path cannot be opened
  std::atomic<std::chrono::steady_clock::rep> deadline_{
      std::chrono::steady_clock::duration::max().count()};
  std::unique_ptr<LineSink> sink_;
};

}  // namespace sluice::metrics
