#include "proxy/daemon/policy_watch.h"

#include <fmt/core.h>
#include <sys/inotify.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace sluice::proxy {
namespace {

namespace fs = std::filesystem;

// path_resolution(7): more symbolic links than this are ELOOP.
constexpr int most_links = 40;

// In a directory: the names in it come, go and are replaced.
constexpr std::uint32_t of_names =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
// The bytes of a file, also when it is mounted by itself and its directory hears nothing of it.
constexpr std::uint32_t of_bytes =
    IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t of_the_watch =
    IN_Q_OVERFLOW | IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF;

// The first name of `path`, which loses it. Empty: there is none left.
std::string take_name(std::string& path) {
  const std::size_t begin = path.find_first_not_of('/');
  if (begin == std::string::npos) {
    path.clear();
    return {};
  }
  const std::size_t end = std::min(path.find('/', begin), path.size());
  std::string name = path.substr(begin, end - begin);
  path.erase(0, end);
  return name;
}

}  // namespace

PolicyWatch::PolicyWatch(std::string path, std::size_t most) : path_(std::move(path)), most_(most) {
  std::error_code error;
  const fs::path whole = fs::absolute(path_, error);
  if (!error) path_ = whole.native();
}

// A place that is not there (any more) is no failure: whoever holds its name is watched.
PolicyWatch::Interest* PolicyWatch::watch(const std::string& place, std::uint32_t events) {
  errno = ENOSPC;
  full_ = full_ || interests_.size() >= most_;
  const int descriptor =
      full_ ? -1 : ::inotify_add_watch(inotify_.get(), place.c_str(), events | IN_MASK_ADD);
  if (descriptor >= 0) return &interests_[descriptor];
  if (errno == ENOENT || errno == ENOTDIR) return nullptr;
  full_ = errno == ENOSPC;
  if (outcome_) {
    outcome_ = Failure(errno_error(
        Errc::unavailable, fmt::format("cannot watch '{}' for changes of the policy", place), errno,
        full_ ? "raise fs.inotify.max_user_watches, or send SIGHUP after each change"
              : "send SIGHUP after each change"));
  }
  return nullptr;
}

void PolicyWatch::watch_bytes(const std::string& file) {
  if (Interest* interest = watch(file, of_bytes)) interest->everything = true;
}

void PolicyWatch::watch_directory(const std::string& directory) {
  if (Interest* interest = watch(directory, of_names | of_bytes)) interest->everything = true;
  std::error_code error;
  for (fs::directory_iterator file(directory, error); !error && file != fs::directory_iterator();
       file.increment(error)) {
    const std::string extension = file->path().extension();
    if (full_ || (extension != ".yaml" && extension != ".yml")) continue;
    if (const auto end = follow(file->path().native())) watch_bytes(*end);
  }
}

// Answers where an absolute path leads, if anything is there. Each directory is watched before the
// name in it is looked up: what changes behind the look is heard.
std::optional<std::string> PolicyWatch::follow(std::string path) {
  std::string at = "/";
  for (int links = 0; !full_;) {
    const std::string name = take_name(path);
    if (name.empty()) return at;
    if (name == ".") continue;
    if (name == "..") {
      at = fs::path(at).parent_path();
      continue;
    }
    if (Interest* interest = watch(at, of_names | IN_ONLYDIR)) interest->names.insert(name);
    const std::string here = at == "/" ? at + name : fmt::format("{}/{}", at, name);
    std::error_code error;
    const fs::path target = fs::read_symlink(here, error);
    if (error) {  // no link, or not there
      if (!fs::exists(here, error)) break;
      at = here;
      continue;
    }
    if (++links > most_links) break;
    if (target.is_absolute()) at = "/";
    path = fmt::format("{}/{}", target.native(), path);
  }
  return std::nullopt;
}

// A fresh instance each time: no watch of an earlier look stays behind, and its last words are not
// taken for news.
Result<void> PolicyWatch::establish() {
  interests_.clear();
  full_ = false;
  outcome_ = {};
  inotify_.reset();
  inotify_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_) {
    return fail_errno(Errc::unavailable, fmt::format("cannot watch the policy '{}'", path_),
                      "raise fs.inotify.max_user_instances, or send SIGHUP after each change");
  }
  if (const auto end = follow(path_)) {
    std::error_code error;
    fs::is_directory(*end, error) ? watch_directory(*end) : watch_bytes(*end);
  }
  return outcome_;
}

bool PolicyWatch::heard() {
  alignas(inotify_event) std::array<char, 16384> bytes;
  bool matters = false;
  for (;;) {
    const ssize_t size = ::read(inotify_.get(), bytes.data(), bytes.size());
    if (size <= 0) return matters;
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      inotify_event event{};
      std::memcpy(&event, bytes.data() + at, sizeof event);
      const char* name = bytes.data() + at + sizeof event;
      at += sizeof event + event.len;
      const auto found = interests_.find(event.wd);
      matters = matters || (event.mask & of_the_watch) != 0;
      if (found == interests_.end()) continue;
      const bool named = event.len > 0 && found->second.names.contains(std::string_view(name));
      matters = matters || found->second.everything || named;
    }
  }
}

}  // namespace sluice::proxy
