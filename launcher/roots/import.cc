#include "launcher/roots/import.h"

#include <fcntl.h>
#include <fmt/core.h>
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
#include "base/pipe.h"
#include "base/signals.h"
#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/sandbox/landlock.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_said = 1000;  // bytes of what tar said that are shown

using Words = std::vector<std::string>;

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
Result<void> make_all_else_read_only(const std::string& into) {
  const bool is_ordinary = ::geteuid() != 0;
  if (is_ordinary) {
    if (auto done = nest_user_namespace(::geteuid(), ::getegid()); !done) return done;
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
  return is_ordinary ? drop_capabilities() : Result<void>{};
}

// Exit status 126: it was not enclosed; 127: there is none.
[[noreturn]] void become_tar(const Words& words, const Streams& streams, const std::string& into,
                             pid_t parent) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!take(streams) || ::unsetenv("TAR_OPTIONS") != 0) ::_exit(126);
  std::vector<WritablePlace> places = writable_places({});
  if (!into.empty()) {
    places.push_back({into, WritablePlace::Writes::all});
    if (!make_all_else_read_only(into)) ::_exit(126);
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
  static Result<Child> start(const Words& words, const Streams& streams, const std::string& into) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(Errc::unavailable, "fork");
    if (pid == 0) become_tar(words, streams, into, parent);
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

Words reading(const std::string& directory) {
  return {"tar",     "--create", "--file=-", "--one-file-system", "--numeric-owner", "--directory",
          directory, "--",       "."};
}

Words writing(const std::string& archive, const std::string& into) {
  return {"tar",
          "--extract",
          "--file=" + archive,
          "--force-local",  // a colon names no machine
          "--directory=" + into,
          "--numeric-owner",
          ::geteuid() == 0 ? "--same-owner" : "--no-same-owner",
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
Result<void> unpack(const std::string& source, const std::string& into, bool is_directory) {
  auto signals = watch_signals();
  if (!signals) return Failure(signals.error());
  auto said = make_pipe();
  if (!said) return Failure(said.error());
  auto between = make_pipe();
  if (!between) return Failure(between.error());
  Streams streams{.err = said->write_end.get()};
  std::optional<Child> reader;
  if (is_directory) {
    auto started = Child::start(
        reading(source), {.out = between->write_end.get(), .err = said->write_end.get()}, "");
    if (!started) return Failure(started.error());
    reader.emplace(std::move(*started));
    streams.in = between->read_end.get();
  }
  auto writer = Child::start(writing(is_directory ? "-" : source, into), streams, into);
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
  if (auto done = unpack(*real, staged->path(), is_directory); !done) return done;
  if (auto fine = expect_root(staged->path()); !fine) return fine;
  return staged->commit(name);
}

}  // namespace sluice::launcher
