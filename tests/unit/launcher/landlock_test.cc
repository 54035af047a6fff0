#include "launcher/sandbox/landlock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>

#include "base/capabilities.h"
#include "base/fd.h"

namespace sluice::launcher {
namespace {

using Writes = WritablePlace::Writes;

constexpr std::uint64_t first_rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
constexpr std::uint64_t refer = LANDLOCK_ACCESS_FS_REFER;
constexpr std::uint64_t truncate_file = 1U << 14;
constexpr std::uint64_t ioctl_dev = 1U << 15;

TEST(LandlockRights, AreThoseOfTheAbiAndTheAttributeIsNoLongerThanItsKernelKnows) {
  struct Case {
    int abi;
    std::uint64_t files;
    std::uint64_t scopes;
    std::size_t size;
  };
  for (const Case& expected :
       {Case{-1, 0, 0, 0}, Case{0, 0, 0, 0}, Case{1, first_rights, 0, 8},
        Case{2, first_rights | refer, 0, 8}, Case{3, first_rights | refer | truncate_file, 0, 8},
        Case{4, first_rights | refer | truncate_file, 0, 16},
        Case{5, first_rights | refer | truncate_file | ioctl_dev, 0, 16},
        Case{6, first_rights | refer | truncate_file | ioctl_dev, 3, 24},
        Case{7, first_rights | refer | truncate_file | ioctl_dev, 3, 24},
        Case{99, first_rights | refer | truncate_file | ioctl_dev, 3, 24}}) {
    const LandlockRights rights = landlock_rights(expected.abi);
    EXPECT_EQ(rights.files, expected.files) << expected.abi;
    EXPECT_EQ(rights.scopes, expected.scopes) << expected.abi;
    EXPECT_EQ(rights.attribute_size, expected.size) << expected.abi;
  }
}

TEST(LandlockNotice, IsGivenOnlyWhereLandlockIsOfNoUse) {
  EXPECT_EQ(landlock_notice(0),
            "this kernel has no Landlock: the mounts alone keep files from being written");
  EXPECT_EQ(landlock_notice(1),
            "this kernel has no Landlock that lets a file move between directories: the mounts "
            "alone keep files from being written");
  for (const int abi : {-1, 2, 7}) EXPECT_EQ(landlock_notice(abi), "") << abi;
}

TEST(WritablePlaces, AreTheWritableMountsAndTheFilesThatEveryProgramWritesTo) {
  Mount temporary;
  temporary.path = "/tmp";
  Mount workspace;
  workspace.kind = Mount::Kind::bind;
  workspace.path = "/home/ana/project";
  Mount vendored = workspace;
  vendored.path = "/home/ana/project/vendor";
  vendored.access = Access::read_only;
  Mount hidden;
  hidden.kind = Mount::Kind::shadow;
  hidden.path = "/root";
  std::vector<std::string> all;
  std::vector<std::string> existing;
  for (const WritablePlace& place : writable_places({temporary, workspace, vendored, hidden})) {
    (place.writes == Writes::all ? all : existing).push_back(place.path);
  }
  EXPECT_EQ(all, (std::vector<std::string>{"/dev/mqueue", "/tmp", "/home/ana/project"}));
  EXPECT_EQ(existing,
            (std::vector<std::string>{"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                      "/dev/urandom", "/dev/tty", "/dev/pts", "/proc"}));
}

int errno_of(long result) { return result < 0 ? errno : 0; }

// Landlock alone: no mount, no filter. In `inside` all may be written, in `files` what is there.
class UnderLandlock : public ::testing::Test {
 protected:
  void SetUp() override {
    if (landlock_abi() < first_useful_landlock) GTEST_SKIP() << landlock_notice(landlock_abi());
    std::string pattern = (std::filesystem::temp_directory_path() / "landlock-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root = pattern;
    for (const char* folder : {"inside/a", "inside/b", "files", "outside"}) {
      std::filesystem::create_directories(root + "/" + folder);
    }
    for (const char* file : {"inside/a/file", "files/file", "outside/file"}) {
      ASSERT_TRUE(Fd(opened(file, O_WRONLY | O_CREAT)));
    }
  }
  void TearDown() override {
    if (!root.empty()) std::filesystem::remove_all(root);
  }

  std::string at(const std::string& name) const { return root + "/" + name; }
  int opened(const std::string& name, int flags) const {
    return ::open(at(name).c_str(), flags | O_CLOEXEC, 0600);
  }

  // What `call` answers in a process of its own, restricted at `abi`; 255: it did not tell.
  int within(const std::function<int()>& call, int abi = landlock_abi()) const {
    const pid_t pid = ::fork();
    if (pid == 0) {
      std::vector<WritablePlace> places = writable_places({});
      places.push_back({at("inside"), Writes::all});
      places.push_back({at("files"), Writes::existing_files});
      places.push_back({at("missing"), Writes::all});
      if (!forbid_new_privileges() || restrict_files(places, abi) != Landlocked::yes) ::_exit(255);
      ::_exit(call());
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  }
  int opening(const std::string& name, int flags, int abi = landlock_abi()) const {
    return within([&] { return errno_of(opened(name, flags)); }, abi);
  }

  std::string root;
};

// "Writes are refused twice": here without any mount. tests/e2e/test_files.py has the mounts.
TEST_F(UnderLandlock, FilesAreWrittenOnlyBeneathTheWritablePlaces) {
  for (int abi = first_useful_landlock; abi <= std::min(landlock_abi(), 7); ++abi) {
    EXPECT_EQ(opening("inside/a/file", O_RDWR | O_TRUNC, abi), 0) << abi;
    EXPECT_EQ(opening("inside/b/new", O_WRONLY | O_CREAT | O_EXCL, abi), 0) << abi;
    std::filesystem::remove(at("inside/b/new"));
    EXPECT_EQ(opening("outside/file", O_WRONLY, abi), EACCES) << abi;
    EXPECT_EQ(opening("outside/new", O_WRONLY | O_CREAT, abi), EACCES) << abi;
    EXPECT_EQ(opening("outside/file", O_RDONLY, abi), 0) << abi;
  }
}

TEST_F(UnderLandlock, NothingIsMadeTakenAwayOrCutOutside) {
  const auto expect = [&](int error, const char* what, const std::function<long()>& call) {
    EXPECT_EQ(within([&] { return errno_of(call()); }), error) << what;
  };
  const std::string made = at("outside/made");
  const std::string own = at("inside/made");
  expect(0, "mkdir", [&] { return ::mkdir(own.c_str(), 0700); });
  expect(0, "rmdir", [&] { return ::rmdir(own.c_str()); });
  expect(0, "symlink", [&] { return ::symlink("a", own.c_str()); });
  expect(0, "unlink", [&] { return ::unlink(own.c_str()); });
  expect(0, "mkfifo", [&] { return ::mkfifo(own.c_str(), 0600); });
  expect(EACCES, "a device", [&] { return ::mknod((own + "-d").c_str(), S_IFCHR, makedev(0, 0)); });
  expect(EACCES, "mkdir", [&] { return ::mkdir(made.c_str(), 0700); });
  expect(EACCES, "rmdir", [&] { return ::rmdir(at("outside").c_str()); });
  expect(EACCES, "symlink", [&] { return ::symlink("a", made.c_str()); });
  expect(EACCES, "mkfifo", [&] { return ::mkfifo(made.c_str(), 0600); });
  expect(EACCES, "unlink", [&] { return ::unlink(at("outside/file").c_str()); });
  if (landlock_abi() < 3) return;
  expect(0, "truncate", [&] { return ::truncate(at("inside/a/file").c_str(), 0); });
  expect(EACCES, "truncate", [&] { return ::truncate(at("outside/file").c_str(), 0); });
}

TEST_F(UnderLandlock, FilesMoveBetweenDirectoriesOfAPlaceButNeitherOutNorIn) {
  const auto moved = [&](const char* from, const char* to) {
    return within([&] { return errno_of(::rename(at(from).c_str(), at(to).c_str())); });
  };
  const auto linked = [&](const char* from, const char* to) {
    return within([&] { return errno_of(::link(at(from).c_str(), at(to).c_str())); });
  };
  EXPECT_EQ(moved("inside/a/file", "inside/b/file"), 0);
  EXPECT_EQ(linked("inside/b/file", "inside/a/file"), 0);
  EXPECT_EQ(moved("inside/a/file", "outside/moved"), EACCES);
  EXPECT_EQ(linked("inside/a/file", "outside/linked"), EACCES);
  EXPECT_EQ(moved("outside/file", "inside/a/moved"), EACCES);
  EXPECT_EQ(linked("outside/file", "inside/a/linked"), EXDEV);  // would be writable by its new name
}

TEST_F(UnderLandlock, WhatIsThereCanBeWrittenToWhereNothingMayBeMade) {
  EXPECT_EQ(opening("files/file", O_WRONLY | O_TRUNC), 0);
  EXPECT_EQ(opening("files/new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(within([&] { return errno_of(::unlink(at("files/file").c_str())); }), EACCES);
  for (const char* path :
       {"/dev/null", "/dev/zero", "/proc/self/comm", "/proc/self/oom_score_adj"}) {
    EXPECT_EQ(within([&] { return errno_of(::open(path, O_WRONLY | O_TRUNC)); }), 0) << path;
  }
}

TEST_F(UnderLandlock, AStandardDescriptorIsOpenedAgainOnlyAsItWasOpened) {
  const int saved_in = ::dup(STDIN_FILENO);
  const int saved_out = ::dup(STDOUT_FILENO);
  ASSERT_EQ(::dup2(Fd(opened("outside/file", O_RDONLY)).get(), STDIN_FILENO), STDIN_FILENO);
  ASSERT_EQ(::dup2(Fd(opened("outside/log", O_WRONLY | O_CREAT)).get(), STDOUT_FILENO),
            STDOUT_FILENO);
  const auto again = [&](const char* path, int flags) {
    return within([&] { return errno_of(::open(path, flags)); });
  };
  const int reading = again("/dev/stdin", O_RDONLY);
  const int writing_what_was_read = again("/dev/stdin", O_WRONLY);
  const int writing = again("/dev/stdout", O_WRONLY | O_TRUNC);
  ::dup2(saved_in, STDIN_FILENO);
  ::dup2(saved_out, STDOUT_FILENO);
  ::close(saved_in);
  ::close(saved_out);
  EXPECT_EQ(reading, 0);
  EXPECT_EQ(writing_what_was_read, EACCES);
  EXPECT_EQ(writing, 0);
}

TEST_F(UnderLandlock, PipesAreOpenedAgainThroughProc) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd reading(ends[0]);
  const Fd writing(ends[1]);
  const std::string path = "/proc/self/fd/" + std::to_string(ends[1]);
  EXPECT_EQ(within([&] { return errno_of(::open(path.c_str(), O_WRONLY)); }), 0);
}

int connect_to(const sockaddr_un& address, socklen_t size) {
  const Fd client(::socket(AF_UNIX, SOCK_STREAM, 0));
  return errno_of(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), size));
}

TEST_F(UnderLandlock, SignalsAndAbstractSocketsEndAtItsOwnProcessesSinceAbi6) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "landlock-test-" + std::to_string(::getpid());
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const Fd server(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(server.get(), 4), 0);
  const auto connecting = [&] { return connect_to(address, size); };
  const auto killing = [] { return errno_of(::kill(::getppid(), 0)); };
  EXPECT_EQ(within(connecting, 2), 0);
  EXPECT_EQ(within(killing, 2), 0);
  EXPECT_EQ(within([] { return errno_of(::kill(::getpid(), 0)); }), 0);
  if (landlock_abi() < 6) GTEST_SKIP() << "this kernel's Landlock scopes nothing";
  EXPECT_EQ(within(connecting), EPERM);
  EXPECT_EQ(within(killing), EPERM);
}

TEST_F(UnderLandlock, ProgramsRunAndTheirChildrenAreRestrictedToo) {
  const std::string script =
      "echo text > " + at("inside/text") + " && ! echo text 2> /dev/null > " + at("outside/text");
  const auto run = [&] {
    ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    return 254;
  };
  EXPECT_EQ(within(run), 0);
  EXPECT_TRUE(std::filesystem::exists(at("inside/text")));
  EXPECT_FALSE(std::filesystem::exists(at("outside/text")));
}

TEST(WithoutLandlock, NothingIsRestricted) {
  for (const int abi : {0, 1}) EXPECT_EQ(restrict_files({}, abi), Landlocked::no) << abi;
  errno = EPERM;
  const auto refused = restrict_files({}, -1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "cannot ask for Landlock's version: Operation not permitted");
  EXPECT_EQ(refused.error().hint,
            "a filter around sluice forbids it; in a container: --security-opt seccomp=unconfined");
}

TEST(Landlock, IsNotEnteredWithoutAPlaceThatCannotBeOpened) {
  if (landlock_abi() < first_useful_landlock) GTEST_SKIP() << landlock_notice(landlock_abi());
  const auto refused = restrict_files({{std::string(300, 'x'), Writes::all}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what,
            "no Landlock rule for '" + std::string(300, 'x') + "': File name too long");
}

}  // namespace
}  // namespace sluice::launcher
