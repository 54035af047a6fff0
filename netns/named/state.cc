#include "netns/named/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <thread>
#include <tuple>

#include "base/io.h"
#include "base/text.h"

namespace sluice::netns {
namespace {

constexpr std::string_view suffix = ".json";
constexpr std::string_view unfinished_suffix = ".new";
constexpr const char* lock_name = ".lock";
constexpr std::size_t most_bytes = std::size_t{64} * 1024;
constexpr std::chrono::milliseconds lock_pause{5};

bool is_letter_or_digit(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_word(std::string_view word, std::size_t longest) noexcept {
  return !word.empty() && word.size() <= longest && is_letter_or_digit(word.front()) &&
         std::all_of(word.begin(), word.end(), [](char c) {
           return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

Result<std::string> file_name(LeaseState::Kind kind, std::string_view id) {
  if (!is_word(id, max_state_id)) {
    return fail(Errc::bad_config,
                fmt::format("'{}' is no name of an agent network",
                            text::printable(id.substr(0, max_state_id))),
                "use letters, digits, '.', '_' and '-', a letter or a digit first");
  }
  return fmt::format("{}-{}{}", kind_name(kind), id, suffix);
}

Result<void> make_folders(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string above = path.substr(0, slash);
    if (::mkdir(above.c_str(), 0755) != 0 && errno != EEXIST) {
      return fail_errno(Errc::not_permitted, fmt::format("cannot make the folder '{}'", above));
    }
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot make the folder '{}'", path));
  }
  return {};
}

Result<Fd> open_folder(const std::string& path) {
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot open the folder '{}'", path));
  }
  struct stat status {};
  if (::fstat(folder.get(), &status) != 0) return fail_errno(Errc::unavailable, path);
  if (status.st_uid != ::geteuid() || (status.st_mode & 0077) != 0) {
    return fail(Errc::not_permitted,
                fmt::format("the folder '{}' is another user's, or open to others", path),
                "remove it; it is made again with mode 0700");
  }
  return folder;
}

Result<std::string> read_at(int folder, const std::string& name) {
  const Fd file(::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", name));
  return read_fd(file.get(), name, most_bytes);
}

}  // namespace

bool is_valid_name(std::string_view name) noexcept { return is_word(name, 63); }

std::optional<std::uint64_t> start_time_of(pid_t pid) {
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!stat) return std::nullopt;
  // The second field is the name in brackets, in which anything may stand.
  std::size_t at = stat->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  std::uint64_t born = 0;
  const char* const begin = stat->data() + at + 1;
  const auto read = std::from_chars(begin, stat->data() + stat->size(), born);
  if (read.ec != std::errc()) return std::nullopt;
  return born;
}

Result<StateFolder> StateFolder::open(std::string path) {
  if (auto made = make_folders(path); !made) return Failure(made.error());
  auto folder = open_folder(path);
  if (!folder) return Failure(folder.error());
  return StateFolder(std::move(path), std::move(*folder));
}

Result<Fd> StateFolder::lock(std::chrono::milliseconds patience) const {
  Fd file(::openat(fd_.get(), lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail_errno(Errc::unavailable, fmt::format("cannot lock '{}'", path_));
  const auto until = std::chrono::steady_clock::now() + patience;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return fail_errno(Errc::unavailable, fmt::format("cannot lock '{}'", path_));
    }
    if (std::chrono::steady_clock::now() >= until) {
      return fail(Errc::unavailable,
                  fmt::format("another sluice-netns has held '{}' for {} s", path_,
                              std::chrono::duration_cast<std::chrono::seconds>(patience).count()),
                  "look for one that hangs, and end it");
    }
    std::this_thread::sleep_for(lock_pause);
  }
  return file;
}

Result<void> StateFolder::write(const LeaseState& state) const {
  const auto name = file_name(state.kind, state.id);
  if (!name) return Failure(name.error());
  const std::string unfinished = *name + std::string(unfinished_suffix);
  ::unlinkat(fd_.get(), unfinished.c_str(), 0);
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const Fd file(::openat(fd_.get(), unfinished.c_str(), flags, 0600));
  if (!file) return fail_errno(Errc::unavailable, fmt::format("cannot write '{}'", unfinished));
  // No fsync: /run does not outlive the kernel, and no more do the namespaces.
  if (auto written = write_all(file.get(), unfinished, encode(state)); !written) {
    ::unlinkat(fd_.get(), unfinished.c_str(), 0);
    return written;
  }
  if (::renameat(fd_.get(), unfinished.c_str(), fd_.get(), name->c_str()) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot write '{}'", *name));
  }
  return {};
}

Result<std::optional<LeaseState>> StateFolder::read(LeaseState::Kind kind,
                                                    std::string_view id) const {
  const auto name = file_name(kind, id);
  if (!name) return Failure(name.error());
  return read_file(*name);
}

Result<std::optional<LeaseState>> StateFolder::read_file(const std::string& name) const {
  if (::faccessat(fd_.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) {
    return std::nullopt;
  }
  auto state =
      read_at(fd_.get(), name).and_then([](std::string&& text) { return decode_state(text); });
  if (!state) {
    return fail(
        Errc::bad_config,
        fmt::format("cannot read '{}/{}': {}", path_, text::printable(name), state.error().what),
        "sluice-netns gc removes it");
  }
  const auto expected = file_name(state->kind, state->id);
  if (!expected || *expected != name) {
    return fail(Errc::bad_config,
                fmt::format("'{}/{}' tells of another network", path_, text::printable(name)),
                "sluice-netns gc removes it");
  }
  return std::optional(std::move(*state));
}

Result<void> StateFolder::remove_file(const std::string& name) const {
  if (::unlinkat(fd_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return fail_errno(Errc::unavailable, fmt::format("cannot remove '{}/{}'", path_, name));
  }
  return {};
}

Result<void> StateFolder::remove(LeaseState::Kind kind, std::string_view id) const {
  const auto name = file_name(kind, id);
  if (!name) return Failure(name.error());
  return remove_file(*name + std::string(unfinished_suffix)).and_then([&] {
    return remove_file(*name);
  });
}

Result<StateFolder::Listing> StateFolder::list() const {
  const int again = ::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(again < 0 ? nullptr : ::fdopendir(again),
                                                   &::closedir);
  if (!folder) return fail_errno(Errc::unavailable, fmt::format("cannot list '{}'", path_));
  Listing found;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name == lock_name) continue;
    auto state = read_file(name);
    if (!state) {
      found.damaged.push_back(name);
    } else if (*state) {  // else it was removed meanwhile
      found.states.push_back(std::move(**state));
    }
  }
  std::sort(found.states.begin(), found.states.end(), [](const auto& a, const auto& b) {
    return std::tie(a.kind, a.id) < std::tie(b.kind, b.id);
  });
  std::sort(found.damaged.begin(), found.damaged.end());
  return found;
}

}  // namespace sluice::netns
