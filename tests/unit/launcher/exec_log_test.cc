#include "launcher/exec_log/exec_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "launcher/exec_log/attempt.h"
#include "launcher/exec_log/lookup.h"
#include "launcher/exec_log/memory.h"
#include "launcher/exec_log/outbox.h"
#include "launcher/exec_log/pidfd.h"
#include "launcher/exec_log/running.h"
#include "netns/handover.h"

namespace sluice::launcher {
namespace {

using netns::SeenExec;
using ::testing::ElementsAre;
using ::testing::SizeIs;

std::uint64_t address(const void* at) { return reinterpret_cast<std::uint64_t>(at); }

// -- memory

TEST(ExecMemory, ReadsAListOfWords) {
  const std::array<const char*, 4> list{"git", "", "commit -m", nullptr};
  const auto words = Memory(::getpid()).read_words(address(list.data()));
  ASSERT_TRUE(words);
  EXPECT_THAT(words->list, ElementsAre("git", "", "commit -m"));
  EXPECT_FALSE(words->cut);
  EXPECT_THAT(Memory(::getpid()).read_words(0)->list, SizeIs(0));
}

TEST(ExecMemory, CutsWhatIsLongerOrMoreThanItTells) {
  const std::string exact(most_argument_bytes, 'x');
  const std::string longer = exact + "y";
  std::array<const char*, 3> list{exact.c_str(), nullptr, nullptr};
  auto words = Memory(::getpid()).read_words(address(list.data()));
  ASSERT_TRUE(words);
  EXPECT_THAT(words->list, ElementsAre(exact));
  EXPECT_FALSE(words->cut);
  list[1] = "more";
  EXPECT_TRUE(Memory(::getpid()).read_words(address(list.data()))->cut);
  list = {longer.c_str(), nullptr, nullptr};
  words = Memory(::getpid()).read_words(address(list.data()));
  EXPECT_THAT(words->list, ElementsAre(exact));
  EXPECT_TRUE(words->cut);
  std::vector<const char*> many(netns::max_exec_words, "");
  many.push_back(nullptr);
  EXPECT_FALSE(Memory(::getpid()).read_words(address(many.data()))->cut);
  many.back() = "";
  many.push_back(nullptr);
  words = Memory(::getpid()).read_words(address(many.data()));
  EXPECT_THAT(words->list, SizeIs(netns::max_exec_words));
  EXPECT_TRUE(words->cut);
}

TEST(ExecMemory, ReadsUpToThePageBehindWhichNothingIsMapped) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  auto* two = static_cast<char*>(
      ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(two, MAP_FAILED);
  ::munmap(two + page, page);
  std::memcpy(two + page - 4, "end", 4);
  const Memory memory(::getpid());
  EXPECT_THAT(memory.read_word(address(two + page - 4), 4096)->list, ElementsAre("end"));
  two[page - 1] = '!';
  EXPECT_EQ(memory.read_word(address(two + page - 4), 4096).error(), EFAULT);
  EXPECT_EQ(memory.read_words(8).error(), EFAULT);
  ::munmap(two, page);
}

// -- lookup

class ExecRoot : public ::testing::Test {
 protected:
  ExecRoot() {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    const Fd program(::open((folder_ + "/program").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0755));
    const Fd text(::open((folder_ + "/text").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    for (const auto& [target, link] : {std::pair{"program", "/link"},
                                       {"loop", "/loop"},
                                       {"/proc/self/exe", "/self"},
                                       {"/proc/self/fd", "/fds"}}) {
      EXPECT_EQ(::symlink(target, (folder_ + link).c_str()), 0);
    }
    EXPECT_EQ(::mkfifo((folder_ + "/fifo").c_str(), 0755), 0);
  }
  ~ExecRoot() override { std::filesystem::remove_all(folder_); }

  std::string folder_ = "/tmp/sluice-exec-XXXXXX";
  AgentRoot root_{::getpid()};
};

TEST_F(ExecRoot, HasProgramsAndNothingElse) {
  for (const char* name : {"/program", "/link", "//./program", "/../program"}) {
    const std::string path = name == std::string_view("/../program")
                                 ? folder_ + "/../" + folder_.substr(5) + "/program"
                                 : folder_ + name;
    EXPECT_TRUE(root_.has_program(path)) << path;
  }
  for (const char* name :
       {"/text", "/missing", "/a/b/c", "/program/x", "/loop", "/fifo", "", "/"}) {
    EXPECT_FALSE(root_.has_program(folder_ + name)) << name;
  }
  EXPECT_FALSE(root_.has_program(folder_ + "/" + std::string(300, 'x')));
}

TEST_F(ExecRoot, TakesForAProgramWhatCannotBeLookedAtFromOutside) {
  for (const char* path : {"/proc/self/exe", "/proc/self/fd/7", "/dev/fd/7"}) {
    EXPECT_TRUE(root_.has_program(path)) << path;
  }
  EXPECT_TRUE(root_.has_program(folder_ + "/self"));
  EXPECT_TRUE(root_.has_program(folder_ + "/fds/0"));
}

TEST(ExecKin, IsTheProcessItsParentAndItsName) {
  const Kin kin = kin_of(::getpid());
  EXPECT_EQ(kin.process, ::getpid());
  EXPECT_EQ(kin.parent, ::getppid());
  EXPECT_FALSE(kin.parent_name.empty());
  EXPECT_EQ(link_of(::getpid(), "cwd"), std::filesystem::current_path());
  EXPECT_EQ(kin_of(-1).process, 0);
  const Fd process = open_process(::getpid());
  const Kin by_descriptor = kin_of(-1, process.get());
  if (numbers_of(process.get())) {  // Linux 6.13
    EXPECT_EQ(by_descriptor.process, ::getpid());
    EXPECT_EQ(by_descriptor.parent, ::getppid());
  }
}

// -- attempt

TEST(ExecAttempt, IsReadFromTheArgumentsOfTheCall) {
  const std::array<const char*, 3> list{"a", "b", nullptr};
  const AgentRoot root(::getpid());
  Notification notification;
  notification.thread = ::getpid();
  notification.call = SYS_execve;
  notification.arguments = {address("/bin/sh"), address(list.data())};
  const auto seen = look_at(notification, root);
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->program, "/bin/sh");
  EXPECT_THAT(seen->argv, ElementsAre("a", "b"));
  EXPECT_EQ(seen->cwd, std::filesystem::current_path());
  EXPECT_EQ(seen->pid, static_cast<std::uint64_t>(::getpid()));
  EXPECT_EQ(seen->error, "");
  for (const std::uint64_t path : {address("/no/such/file"), address("")}) {
    notification.arguments[0] = path;
    EXPECT_FALSE(look_at(notification, root));
  }
  // Closed to everybody but the kernel, perhaps.
  notification.arguments[0] = 8;
  const auto closed = look_at(notification, root);
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->error, "cannot read its arguments: Bad address");
}

TEST(ExecAttempt, FindsWhatIsNamedFromADirectoryOrADescriptor) {
  const std::array<const char*, 2> list{"a", nullptr};
  const Fd bin(::open("/usr/bin", O_PATH | O_CLOEXEC));
  const Fd env(::open("/usr/bin/env", O_PATH | O_CLOEXEC));
  const AgentRoot root(::getpid());
  Notification call;
  call.thread = ::getpid();
  call.call = SYS_execveat;
  const auto at = [](const Fd& fd) { return static_cast<std::uint64_t>(fd.get()); };
  call.arguments = {at(bin), address("env"), address(list.data())};
  EXPECT_EQ(look_at(call, root)->program, "env");
  call.arguments = {at(bin), address("no-such-program"), address(list.data())};
  EXPECT_FALSE(look_at(call, root));
  call.arguments = {at(env), address(""), address(list.data()), 0, AT_EMPTY_PATH};
  EXPECT_EQ(look_at(call, root)->program, "/usr/bin/env");
  call.arguments[4] = 0;
  EXPECT_FALSE(look_at(call, root));
}

// -- outbox

netns::Event taken(Outbox& outbox) {
  const std::string message = outbox.take();
  EXPECT_LE(message.size(), netns::max_message);
  auto request = netns::decode_request(message);
  EXPECT_TRUE(request) << request.error().what;
  return std::get<netns::Event>(*request);
}

TEST(ExecOutbox, FitsWhateverAProgramIsCalledIntoOneMessage) {
  Outbox outbox;
  SeenExec worst;
  worst.program = worst.cwd = std::string(most_path_bytes, '\x01');
  worst.argv.assign(netns::max_exec_words, std::string(most_argument_bytes / 256, '\x01'));
  worst.parent = std::string(16, '\xff');
  worst.pid = worst.parent_pid = ~std::uint64_t{0};
  worst.ms = worst.exit_status = ~std::uint64_t{0};
  for (int i = 0; i < 3; ++i) outbox.put(worst);
  std::size_t programs = 0;
  while (!outbox.empty()) {
    const auto event = taken(outbox);
    EXPECT_EQ(event.count, 0U);
    programs += event.execs.size();
    EXPECT_EQ(event.execs.front().cwd, worst.cwd);
  }
  EXPECT_EQ(programs, 3U);
}

TEST(ExecOutbox, CountsWhatDoesNotFit) {
  Outbox outbox;
  SeenExec seen;
  seen.argv = {std::string(4096, 'x')};
  constexpr std::size_t all = 1000;
  for (std::size_t i = 0; i < all; ++i) outbox.put(seen);
  std::size_t told = 0;
  std::size_t left_out = 0;
  while (!outbox.empty()) {
    const auto event = taken(outbox);
    told += event.execs.size();
    left_out += event.count;
  }
  EXPECT_GT(told, 200U);
  EXPECT_LE(told * 4096, Outbox::most_bytes);
  EXPECT_EQ(told + left_out, all);
}

// -- running

class ExecRunning : public ::testing::Test {
 protected:
  // A process that ends with `status` when its pipe is closed.
  pid_t start(int status) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::close(ends[1]);
      char byte = 0;
      (void)!::read(ends[0], &byte, 1);
      ::_exit(status);
    }
    ::close(ends[0]);
    gate_.reset(ends[1]);
    return pid;
  }
  void begin(pid_t pid, const char* name) {
    SeenExec seen;
    seen.pid = static_cast<std::uint64_t>(pid);
    seen.program = name;
    running_.begin(seen, running_.hold(pid), Running::Clock::now());
  }
  void end(pid_t pid) {
    gate_.reset();
    ::waitpid(pid, nullptr, 0);
    epoll_event event{};
    for (int i = 0; i < 3 && told_.size() < expected_; ++i) {
      ASSERT_EQ(::epoll_wait(epoll_.get(), &event, 1, 10'000), 1);
      running_.look(static_cast<pid_t>(event.data.u64), event.events, Running::Clock::now());
    }
  }

  Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  Fd gate_;
  std::size_t expected_ = 1;
  std::vector<SeenExec> told_;
  Running running_{epoll_.get(), [this](SeenExec seen) { told_.push_back(std::move(seen)); }};
};

TEST_F(ExecRunning, TellsOfAProgramWhenItsProcessHasEnded) {
  const pid_t pid = start(3);
  begin(pid, "a");
  EXPECT_THAT(told_, SizeIs(0));
  end(pid);
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_TRUE(told_[0].ms);
  EXPECT_EQ(told_[0].exit_status.value_or(3), 3U);
  EXPECT_TRUE(running_.empty());
}

TEST_F(ExecRunning, TellsOfAProgramWithoutAStatusWhenItsProcessRunsAnother) {
  const pid_t pid = start(0);
  begin(pid, "first");
  begin(pid, "second");
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_EQ(told_[0].program, "first");
  EXPECT_TRUE(told_[0].ms);
  EXPECT_FALSE(told_[0].exit_status);
  expected_ = 2;
  end(pid);
  ASSERT_THAT(told_, SizeIs(2));
  EXPECT_EQ(told_[1].program, "second");
}

TEST_F(ExecRunning, GivesTheEndToTheLastProgramHoweverSoonItComes) {
  const pid_t pid = start(3);
  begin(pid, "first");
  Fd held = running_.hold(pid);
  gate_.reset();
  ::waitpid(pid, nullptr, 0);
  SeenExec seen;
  seen.pid = static_cast<std::uint64_t>(pid);
  seen.program = "second";
  running_.begin(seen, std::move(held), Running::Clock::now());
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_EQ(told_[0].program, "first");
  EXPECT_FALSE(told_[0].exit_status);
}

TEST_F(ExecRunning, TellsOfWhatIsLeftWithoutAnEnd) {
  const pid_t pid = start(0);
  begin(pid, "a");
  running_.give_up();
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_FALSE(told_[0].ms);
  EXPECT_TRUE(running_.empty());
  gate_.reset();
  ::waitpid(pid, nullptr, 0);
}

TEST_F(ExecRunning, TellsAtOnceOfAProcessThatItCannotHold) {
  SeenExec seen;
  seen.pid = 1;
  running_.begin(seen, Fd(), Running::Clock::now());
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_FALSE(told_[0].ms);
}

}  // namespace
}  // namespace sluice::launcher
