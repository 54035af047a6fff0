#include "launcher/roots/import.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/capabilities.h"
#include "base/io.h"
#include "base/pipe.h"
#include "base/signals.h"
#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/roots/as_owner.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_said = 1000;  // bytes of what tar said that are shown

using Words = std::vector<std::string>;

// Of the ordinary user's tar, over files of his ids only.
constexpr std::array<int, 4> unpacking{CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID};

// What tar may write to, and whose files it makes.
struct Target {
  std::string into;  // "": it only reads
  std::optional<SubIds> ids{};
};

// What a program is started with in place of ours; -1: ours.
struct Streams {
  int in = -1;
  int out = -1;
  int err = -1;
};

bool take(const Streams& streams) {
  return (streams.in < 0 || ::dup2(streams.in, STDIN_FILENO) >= 0) &&
         (streams.out < 0 || ::dup2(streams.out, STDOUT_FILENO) >= 0) &&
         (streams.err < 0 || ::dup2(streams.err, STDERR_FILENO) >= 0);
}

// Everything but `into` becomes read-only: Landlock lets modes and owners be changed anywhere.
Result<void> make_all_else_read_only(const std::string& into, const std::optional<SubIds>& ids) {
  const bool is_ordinary = ::geteuid() != 0;
  if (is_ordinary) {
    auto entered = ids ? enter_sub_ids(*ids) : nest_user_namespace(::geteuid(), ::getegid());
    if (!entered) return entered;
  }
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return fail_errno(Errc::not_permitted, "cannot make a mount namespace");
  }
  const Fd all(::open("/", O_PATH | O_CLOEXEC));
  const auto writable = clone_tree(into, Recursive::no);
  if (!writable) return Failure(writable.error());
  if (auto set = set_attributes(all.get(), MOUNT_ATTR_RDONLY, Recursive::yes); !set) return set;
  if (auto done = attach(writable->get(), into); !done) return done;
  if (ids) return keep_capabilities(unpacking);
  return is_ordinary ? drop_capabilities() : Result<void>{};
}

// Exit status 126: it was not enclosed; 127: there is none.
[[noreturn]] void become_tar(const Words& words, const Streams& streams, const Target& target,
                             pid_t parent) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!take(streams) || ::unsetenv("TAR_OPTIONS") != 0) ::_exit(126);
  std::vector<WritablePlace> places = writable_places({});
  if (!target.into.empty()) {
    places.push_back({target.into, WritablePlace::Writes::all});
    if (!make_all_else_read_only(target.into, target.ids)) ::_exit(126);
  }
  if (!forbid_new_privileges() || !restrict_files(places)) ::_exit(126);
  // Who died before is not waited for.
  if (!die_with_parent() || ::getppid() != parent) ::_exit(126);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execvp("tar", arguments.data());
  ::_exit(127);
}

class Child {
 public:
  static Result<Child> start(const Words& words, const Streams& streams, const Target& target) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(Errc::unavailable, "fork");
    if (pid == 0) become_tar(words, streams, target, parent);
    return Child(pid);
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    (void)wait();
  }

  // The exit status, 128 and the signal after one.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

// What is the caller's on the host is root's in the root, where it can have other ids too.
struct OwnerMaps {
  Fd uids;
  Fd gids;
};

Result<OwnerMaps> map_owners() {
  auto uids = sealed_memfd("uids", fmt::format("+{} root:0\n", ::geteuid()));
  if (!uids) return Failure(uids.error());
  auto gids = sealed_memfd("gids", fmt::format("+{} root:0\n", ::getegid()));
  if (!gids) return Failure(gids.error());
  if (::fcntl(uids->get(), F_SETFD, 0) != 0 || ::fcntl(gids->get(), F_SETFD, 0) != 0) {
    return fail_errno(Errc::bug, "F_SETFD");
  }
  return OwnerMaps{std::move(*uids), std::move(*gids)};
}

Words reading(const std::string& directory, const OwnerMaps& maps) {
  Words words{"tar", "--create", "--file=-", "--one-file-system", "--numeric-owner"};
  if (maps.uids) {
    // It has no right to look into our own directory there (landlock(7)): it inherits them.
    words.push_back(fmt::format("--owner-map=/proc/self/fd/{}", maps.uids.get()));
    words.push_back(fmt::format("--group-map=/proc/self/fd/{}", maps.gids.get()));
  }
  words.insert(words.end(), {"--directory", directory, "--", "."});
  return words;
}

Words writing(const std::string& archive, const Target& target) {
  return {"tar",
          "--extract",
          "--file=" + archive,
          "--force-local",  // a colon names no machine
          "--directory=" + target.into,
          "--numeric-owner",
          ::geteuid() == 0 || target.ids ? "--same-owner" : "--no-same-owner",
          "--same-permissions",
          "--delay-directory-restore",
          "--anchored",
          "--exclude=dev/*",
          "--exclude=./dev/*",
          "--exclude=/dev/*"};
}

// Until tar's end of the pipe is closed, or a signal ends the import.
Result<std::string> listen(int said, int signals) {
  std::string text;
  for (;;) {
    std::array<pollfd, 2> waiting{{{said, POLLIN, 0}, {signals, POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
      return fail_errno(Errc::bug, "poll");
    }
    for (const int number : read_signals(signals)) {
      if (number == SIGCHLD || number == SIGWINCH) continue;
      return fail(Errc::unavailable, "the import was ended by a signal");
    }
    if (waiting[0].revents == 0) continue;
    std::array<char, 4096> bytes;
    const ssize_t size = ::read(said, bytes.data(), bytes.size());
    if (size == 0) return text;
    if (size < 0 && errno != EINTR) return fail_errno(Errc::bug, "read");
    if (size > 0 && text.size() < most_said) {
      text.append(bytes.data(), static_cast<std::size_t>(size));
    }
  }
}

// The first line, for it names what was wrong; members' names are the archive's maker's.
std::string first_line(std::string_view said) {
  return text::printable(said.substr(0, std::min(said.find('\n'), most_said)));
}

Failure not_unpacked(int status, const std::string& said) {
  if (status == 127) {
    return fail(Errc::unavailable, "there is no tar to unpack with", "apt-get install tar");
  }
  if (status == 126) {
    return fail(Errc::not_permitted, "tar could not be closed in",
                "sluice doctor tells what is missing");
  }
  return fail(
      Errc::bad_config,
      fmt::format("nothing was imported: {}", said.empty() ? "tar failed" : first_line(said)),
      "the archive or directory must be readable as a whole");
}

// Everything that tar and its reader say on the way is heard; one of them failing is enough.
Result<void> unpack(const std::string& source, const Target& target, bool is_directory) {
  auto signals = watch_signals();
  if (!signals) return Failure(signals.error());
  auto said = make_pipe();
  if (!said) return Failure(said.error());
  auto between = make_pipe();
  if (!between) return Failure(between.error());
  Streams streams{.err = said->write_end.get()};
  std::optional<Child> reader;
  OwnerMaps maps;
  if (is_directory) {
    if (target.ids) {
      auto mapped = map_owners();
      if (!mapped) return Failure(mapped.error());
      maps = std::move(*mapped);
    }
    auto started = Child::start(
        reading(source, maps), {.out = between->write_end.get(), .err = said->write_end.get()}, {});
    if (!started) return Failure(started.error());
    reader.emplace(std::move(*started));
    streams.in = between->read_end.get();
  }
  auto writer = Child::start(writing(is_directory ? "-" : source, target), streams, target);
  if (!writer) return Failure(writer.error());
  *between = {};
  said->write_end.reset();
  const auto heard = listen(said->read_end.get(), signals->get());
  if (!heard) return Failure(heard.error());
  const int read_status = reader ? reader->wait() : 0;
  const int write_status = writer->wait();
  if (write_status == 0 && read_status == 0) return {};
  return not_unpacked(write_status != 0 ? write_status : read_status, *heard);
}

// An archive may give its top to another id, and the store's owner must be able to open it.
Result<void> own_top(const Target& target) {
  if (!target.ids) return {};
  return as_owner(*target.ids,
                  [&]() -> Result<std::string> {
                    if (::chown(target.into.c_str(), 0, 0) == 0) return std::string();
                    return fail_errno(Errc::unavailable, text::printable(target.into));
                  })
      .map([](const std::string&) {});
}

Result<void> expect_root(const std::string& path) {
  struct stat status {};
  for (const char* name : {"/usr", "/bin"}) {
    if (::stat((path + name).c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
  }
  return fail(Errc::bad_config, "nothing was imported: there is no /usr and no /bin in it",
              "the archive of a root has them at its top, as `podman export` and debootstrap make");
}

}  // namespace

Result<void> import_root(const RootStore& store, const std::string& name,
                         const std::string& source) {
  if (const std::string fault = root_name_fault(name); !fault.empty()) {
    return fail(Errc::bad_config, fault, "letters, digits, '.', '_' and '-', at most 63");
  }
  auto real = source == "-" ? Result<std::string>(source) : real_path(source);
  if (!real) return Failure(real.error());
  struct stat status {};
  const bool is_directory = ::stat(real->c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  auto staged = store.stage(name);
  if (!staged) return Failure(staged.error());
  if (is_directory && is_at_or_below(staged->path(), *real)) {
    return fail(Errc::bad_config,
                fmt::format("'{}' holds the imported roots themselves", text::printable(*real)),
                "name a directory beside them");
  }
  const Target target{staged->path(), find_sub_ids()};
  if (auto done = unpack(*real, target, is_directory); !done) return done;
  if (auto done = own_top(target); !done) return done;
  if (auto fine = expect_root(staged->path()); !fine) return fine;
  return staged->commit(name);
}

}  // namespace sluice::launcher
