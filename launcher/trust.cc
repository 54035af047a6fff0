#include "launcher/trust.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include "base/io.h"
#include "base/sha256.h"
#include "base/text.h"
#include "launcher/line_diff.h"
#include "launcher/paths.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

constexpr std::string_view magic = "sluice-trust 1\n";
constexpr std::size_t digest_size = 64;
constexpr std::size_t largest_record = largest_workspace_policy + 8192;

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

std::string trust_command(std::string_view path) {
  return fmt::format("sluice policy trust {}", shell_word(path));
}

std::string encode(const TrustRecord& record) {
  return fmt::format("{}{}\n{}\n{}\n{}", magic, record.digest, record.path.size(), record.path,
                     record.text);
}

// Takes `size` bytes and a line feed from the beginning of `bytes`.
std::optional<std::string> take(std::string_view& bytes, std::size_t size) {
  if (bytes.size() <= size || bytes[size] != '\n') return std::nullopt;
  std::string taken(bytes.substr(0, size));
  bytes.remove_prefix(size + 1);
  return taken;
}

std::optional<TrustRecord> decode(std::string_view bytes) {
  if (!bytes.starts_with(magic)) return std::nullopt;
  bytes.remove_prefix(magic.size());
  auto digest = take(bytes, digest_size);
  const auto length = take(bytes, std::min(bytes.find('\n'), bytes.size()));
  if (!digest || !length) return std::nullopt;
  std::size_t size = 0;
  const char* const end = length->data() + length->size();
  if (const auto [rest, error] = std::from_chars(length->data(), end, size);
      error != std::errc() || rest != end) {
    return std::nullopt;
  }
  auto path = take(bytes, size);
  if (!path || sha256_hex(bytes) != *digest) return std::nullopt;
  return TrustRecord{std::move(*path), std::move(*digest), std::string(bytes)};
}

// Nothing where there is no such file.
Result<std::optional<TrustRecord>> read_record(int store, const std::string& name) {
  const Fd file(::openat(store, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::optional<TrustRecord>();
  const std::string what = fmt::format("the record of trust {}", in_quotes(name));
  if (!file) return fail_errno(Errc::unavailable, fmt::format("cannot open {}", what));
  auto bytes = read_fd(file.get(), name, largest_record);
  if (!bytes) return Failure(bytes.error());
  auto record = decode(*bytes);
  if (!record || sha256_hex(record->path) != name) {
    return fail(Errc::unavailable, fmt::format("{} is damaged", what),
                "review the workspace's policy and trust it again");
  }
  return record;
}

Result<void> write_record(int store, const TrustRecord& record) {
  const std::string name = sha256_hex(record.path);
  const std::string fresh = fmt::format(".new-{}", ::getpid());
  ::unlinkat(store, fresh.c_str(), 0);
  const Fd file(
      ::openat(store, fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail_errno(Errc::unavailable, "cannot make a record of trust");
  auto written = write_all(file.get(), fresh, encode(record));
  if (written && ::fsync(file.get()) != 0) written = fail_errno(Errc::unavailable, "fsync");
  if (written && ::renameat(store, fresh.c_str(), store, name.c_str()) != 0) {
    written = fail_errno(Errc::unavailable, "cannot keep the record of trust");
  }
  if (!written) ::unlinkat(store, fresh.c_str(), 0);
  return written;
}

bool is_record_name(std::string_view name) {
  return name.size() == digest_size &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Failure no_plain_file(const std::string& path, std::string_view what) {
  return fail(Errc::bad_config, fmt::format("{} is {}", in_quotes(path), what),
              "put the policy itself there, or pass another: --policy FILE");
}

Failure changed(const TrustRecord& reviewed, const std::string& text) {
  std::string difference = line_diff(reviewed.text, text);
  difference.pop_back();
  return fail(Errc::bad_config,
              fmt::format("{} changed since it was trusted, and is not obeyed:\n{}",
                          in_quotes(reviewed.path), difference),
              fmt::format("review it, then: {}", trust_command(reviewed.path)));
}

}  // namespace

Result<Fd> TrustStore::open(MakeFolder make) const {
  return open_state_folder(state_, "trust", make);
}

Result<std::optional<TrustRecord>> TrustStore::find(const std::string& path) const {
  const auto store = open(MakeFolder::no);
  if (!store) return Failure(store.error());
  if (!*store) return std::optional<TrustRecord>();
  return read_record(store->get(), sha256_hex(path));
}

Result<void> TrustStore::put(const TrustRecord& record) const {
  const auto store = open(MakeFolder::yes);
  if (!store) return Failure(store.error());
  return write_record(store->get(), record);
}

Result<bool> TrustStore::forget(const std::string& path) const {
  const auto store = open(MakeFolder::no);
  if (!store) return Failure(store.error());
  if (!*store) return false;
  if (::unlinkat(store->get(), sha256_hex(path).c_str(), 0) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_errno(Errc::unavailable, fmt::format("cannot forget {}", in_quotes(path)));
}

Result<std::vector<TrustRecord>> TrustStore::list() const {
  auto store = open(MakeFolder::no);
  if (!store) return Failure(store.error());
  std::vector<TrustRecord> records;
  if (!*store) return records;
  const int fd = store->get();
  const std::unique_ptr<DIR, CloseDirectory> entries(::fdopendir(store->release()));
  if (!entries) return fail_errno(Errc::unavailable, "fdopendir");
  while (const dirent* const entry = ::readdir(entries.get())) {
    if (!is_record_name(entry->d_name)) continue;
    auto record = read_record(fd, entry->d_name);
    if (!record) return Failure(record.error());
    if (*record) records.push_back(std::move(**record));
  }
  std::sort(records.begin(), records.end(),
            [](const TrustRecord& a, const TrustRecord& b) { return a.path < b.path; });
  return records;
}

Result<std::optional<std::string>> read_workspace_policy(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::optional<std::string>();
  if (!file && errno == ELOOP) return no_plain_file(path, "a symbolic link");
  if (!file && errno == ENXIO) return no_plain_file(path, "no regular file");  // a socket
  if (!file) {
    return fail_errno(Errc::unavailable, fmt::format("cannot open {}", in_quotes(path)),
                      "the workspace must be a directory that you may read and search");
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno(Errc::unavailable, in_quotes(path));
  if (!S_ISREG(status.st_mode)) return no_plain_file(path, "no regular file");
  auto text = read_fd(file.get(), text::printable(path), largest_workspace_policy);
  if (!text && text.error().code == Errc::bad_config)
    return no_plain_file(path, "larger than 1 MiB");
  if (!text) return Failure(text.error());
  return std::optional(std::move(*text));
}

Result<std::optional<allowlists::Source>> judge_workspace_policy(const std::string& workspace,
                                                                 const TrustStore& store) {
  const std::string path = workspace + "/" + workspace_policy_name;
  auto text = read_workspace_policy(path);
  if (!text) return Failure(text.error());
  if (!*text) return std::optional<allowlists::Source>();
  const auto reviewed = store.find(path);
  if (!reviewed) return Failure(reviewed.error());
  if (!*reviewed) {
    return fail(Errc::bad_config,
                fmt::format("{} is not trusted: an agent could have written it", in_quotes(path)),
                fmt::format("review it, then: {}; or pass a policy of your own: --policy FILE",
                            trust_command(path)));
  }
  if ((*reviewed)->text != **text) return changed(**reviewed, **text);
  return allowlists::Source{workspace_policy_name, std::move(**text)};
}

std::string ignored_workspace_policy(const std::string& workspace, std::string_view why) {
  const std::string path = workspace + "/" + workspace_policy_name;
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  return fmt::format("{} is not obeyed: {}", in_quotes(path), why);
}

std::string in_quotes(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

std::string shell_word(std::string_view path) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+,:@%=").find(c) != std::string_view::npos;
  };
  if (!path.empty() && std::all_of(path.begin(), path.end(), is_plain)) return std::string(path);
  std::string word = "'";
  for (const char c : text::printable(path))
    word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

}  // namespace sluice::launcher
