#include "launcher/sessions/run_log_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/io.h"
#include "base/text.h"
#include "launcher/sessions/run_log.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_record = std::size_t{1024} * 1024;
constexpr std::size_t most_at_once = 65536;

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

Fd open_in(int folder, const std::string& name) {
  return Fd(::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
}

// Without taking the lock, which would keep a run from beginning meanwhile (fcntl(2)).
bool is_locked(int record) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return ::fcntl(record, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool is_same_file(int a, int b) {
  struct stat one {};
  struct stat other {};
  return ::fstat(a, &one) == 0 && ::fstat(b, &other) == 0 && one.st_ino == other.st_ino;
}

}  // namespace

Result<std::optional<RunRecord>> read_record(const std::string& state_directory,
                                             const std::string& agent) {
  const auto folder = open_state_folder(state_directory, logs_folder, MakeFolder::no);
  if (!folder) return Failure(folder.error());
  if (!*folder) return std::optional<RunRecord>();
  const Fd file = open_in(folder->get(), fmt::format("{}{}", agent, record_suffix));
  if (!file) return std::optional<RunRecord>();
  RunRecord record;
  // Before the text is read: a run that ends in between has then written how.
  record.lasts = is_locked(file.get());
  const auto text = read_fd(file.get(), "the record of a run", largest_record);
  if (!text) return Failure(text.error());
  auto status = decode_status(*text);
  if (!status) return Failure(status.error());
  if (status->agent != agent) return fail(Errc::unavailable, "a run's record is another's");
  record.status = std::move(*status);
  using State = RunStatus::State;
  if (!record.lasts && record.status.state != State::ended) record.status.state = State::killed;
  return std::optional<RunRecord>(std::move(record));
}

Result<std::vector<std::string>> logged_agents(const std::string& state_directory) {
  std::vector<std::string> agents;
  auto folder = open_state_folder(state_directory, logs_folder, MakeFolder::no);
  if (!folder) return Failure(folder.error());
  if (!*folder) return agents;
  const std::unique_ptr<DIR, CloseDirectory> list(::fdopendir(folder->get()));
  if (!list) return fail_errno(Errc::unavailable, "cannot list the logs");
  (void)folder->release();
  while (const dirent* const entry = ::readdir(list.get())) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(record_suffix)) continue;
    agents.emplace_back(name.substr(0, name.size() - record_suffix.size()));
  }
  std::sort(agents.begin(), agents.end());
  return agents;
}

Result<RunLogReader> RunLogReader::open(const std::string& state_directory, std::string agent) {
  auto folder = open_state_folder(state_directory, logs_folder, MakeFolder::no);
  if (!folder) return Failure(folder.error());
  RunLogReader reader(std::move(*folder), std::move(agent));
  reader.file_ = reader.open_one(old_log_suffix);
  if (!reader.file_) reader.file_ = reader.open_one(log_suffix);
  if (reader.file_) return reader;
  return fail(Errc::unavailable,
              fmt::format("the log of '{}' is gone", text::printable(reader.agent_)));
}

Fd RunLogReader::open_one(std::string_view suffix) const {
  return open_in(folder_.get(), fmt::format("{}{}", agent_, suffix));
}

// What to read behind the end of the present file; without a descriptor where it is the newest.
Fd RunLogReader::find_next() {
  Fd newest = open_one(log_suffix);
  if (!newest || is_same_file(newest.get(), file_.get())) return {};
  Fd older = open_one(old_log_suffix);
  if (!older || is_same_file(older.get(), file_.get())) return newest;
  // The present one was moved aside twice, and what came behind it may have been as well.
  missed_ = true;
  return older;
}

Result<std::string> RunLogReader::read() {
  Fd next;
  for (;;) {
    std::string bytes(most_at_once, '\0');
    const ssize_t size = ::read(file_.get(), bytes.data(), bytes.size());
    if (size < 0) return fail_errno(Errc::unavailable, "cannot read the log");
    bytes.resize(static_cast<std::size_t>(size));
    if (size > 0) return bytes;
    if (next) {
      // Read to its end once more after it was moved aside: nothing is written to it from then on.
      file_ = std::exchange(next, {});
      continue;
    }
    next = find_next();
    if (!next) return std::string();
  }
}

}  // namespace sluice::launcher
