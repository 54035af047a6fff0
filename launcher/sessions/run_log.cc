#include "launcher/sessions/run_log.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "launcher/sessions/run_log_reader.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

constexpr std::int64_t kept_ms = std::int64_t{7} * 24 * 60 * 60 * 1000;

std::string file_of(const RunStatus& status, std::string_view suffix) {
  return fmt::format("{}{}", status.agent, suffix);
}

Result<void> remove_file(int folder, const std::string& name) {
  if (::unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  return fail_errno(Errc::unavailable, fmt::format("cannot remove the log '{}'", name));
}

// Of the open file description: it passes to the process that keeps the log (fcntl(2)).
bool lock_whole(int record) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return ::fcntl(record, F_OFD_SETLK, &lock) == 0;
}

Result<Fd> lock_record(int folder, const RunStatus& status) {
  const std::string name = file_of(status, record_suffix);
  constexpr int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  for (;;) {
    Fd record(::openat(folder, name.c_str(), flags, 0600));
    if (!record) return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", name));
    if (!lock_whole(record.get())) break;
    struct stat found {};
    if (::fstat(record.get(), &found) != 0) return fail_errno(Errc::unavailable, "fstat");
    // Removed as an old one's between the two: the lock is on nothing.
    if (found.st_nlink > 0) return record;
  }
  return fail(Errc::unavailable, fmt::format("the agent name '{}' is taken", status.agent),
              "it runs already: stop it, or give this one another name with --agent");
}

}  // namespace

Result<RunLog> RunLog::begin(const std::string& state_directory, RunStatus status,
                             std::uint64_t half) {
  auto folder = open_state_folder(state_directory, logs_folder, MakeFolder::yes);
  if (!folder) return Failure(folder.error());
  auto record = lock_record(folder->get(), status);
  if (!record) return Failure(record.error());
  for (const std::string_view suffix : {log_suffix, old_log_suffix}) {
    if (auto removed = remove_file(folder->get(), file_of(status, suffix)); !removed) {
      return Failure(removed.error());
    }
  }
  RunLog log(std::move(*folder), std::move(*record), std::move(status), half);
  if (auto opened = log.open_file(); !opened) return Failure(opened.error());
  if (::ftruncate(log.record_.get(), 0) != 0) return fail_errno(Errc::unavailable, "ftruncate");
  if (auto written = log.write_record(); !written) return Failure(written.error());
  return log;
}

Result<void> RunLog::open_file() {
  const std::string name = file_of(status_, log_suffix);
  constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
  file_.reset(::openat(folder_.get(), name.c_str(), flags, 0600));
  size_ = 0;
  if (!file_) return fail_errno(Errc::unavailable, fmt::format("cannot make the log '{}'", name));
  return {};
}

void RunLog::append(std::string_view bytes) {
  if (size_ >= half_) {
    const std::string name = file_of(status_, log_suffix);
    const std::string old = file_of(status_, old_log_suffix);
    const bool moved = ::renameat(folder_.get(), name.c_str(), folder_.get(), old.c_str()) == 0;
    if (!moved || !open_file()) {
      lost_ += bytes.size();
      return;
    }
  }
  const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
  const std::size_t kept = written < 0 ? 0 : static_cast<std::size_t>(written);
  size_ += kept;
  lost_ += bytes.size() - kept;
}

// In place, and never shorter than before: a reader without the lock finds a whole record.
Result<void> RunLog::write_record() {
  const std::string text = encode(status_);
  const ssize_t written = ::pwrite(record_.get(), text.data(), text.size(), 0);
  if (written != static_cast<ssize_t>(text.size())) {
    return fail_errno(Errc::unavailable, "cannot write the record of a run");
  }
  if (::ftruncate(record_.get(), written) != 0) return fail_errno(Errc::unavailable, "ftruncate");
  return {};
}

Result<void> RunLog::end(RunStatus::State state, int status) {
  status_.state = state;
  status_.until = now_ms();
  status_.pid = 0;
  if (state == RunStatus::State::ended) status_.status = status;
  return write_record();
}

void remove_old_logs(const std::string& state_directory, std::int64_t now) {
  const auto runs = ended_runs(state_directory);
  const auto folder = open_state_folder(state_directory, logs_folder, MakeFolder::no);
  if (!runs || !folder || !*folder) return;
  for (const RunStatus& run : *runs) {
    if (std::max(run.since, run.until) + kept_ms > now) continue;
    // Locked, so that no new run begins meanwhile in the files that go.
    const auto record = lock_record(folder->get(), run);
    if (!record) continue;
    for (const std::string_view suffix : {log_suffix, old_log_suffix, record_suffix}) {
      (void)remove_file(folder->get(), file_of(run, suffix));
    }
  }
}

Result<std::vector<RunStatus>> ended_runs(const std::string& state_directory) {
  const auto agents = logged_agents(state_directory);
  if (!agents) return Failure(agents.error());
  std::vector<RunStatus> runs;
  for (const std::string& agent : *agents) {
    auto record = read_record(state_directory, agent);
    if (record && *record && !(*record)->lasts) runs.push_back(std::move((*record)->status));
  }
  return runs;
}

}  // namespace sluice::launcher
