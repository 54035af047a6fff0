#include "launcher/sessions/door.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/io.h"
#include "launcher/sessions/run_socket.h"

namespace sluice::launcher {
namespace {

class ADoor : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sluice-door-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    top_ = name;
    directory_ = top_ + "/agents";
    auto socket = RunSocket::listen(directory_, "coder-1", control_suffix);
    ASSERT_TRUE(socket) << to_string(socket.error());
    socket_.emplace(std::move(*socket));
    auto door = Door::open(socket_->fd());
    ASSERT_TRUE(door);
    door_.emplace(std::move(*door));
    status_.agent = "coder-1";
  }
  void TearDown() override {
    door_.reset();
    socket_.reset();
    std::filesystem::remove_all(top_);
  }

  Fd visit(std::string_view words) {
    auto connection = connect_run(directory_, "coder-1", control_suffix);
    EXPECT_TRUE(connection && *connection);
    say(*connection, words);
    return std::move(*connection);
  }
  static void say(const Fd& connection, std::string_view words) {
    EXPECT_TRUE(write_all(connection.get(), "the door", words));
  }
  // Until nothing more happens.
  std::optional<Stop> serve() {
    std::optional<Stop> asked;
    for (int i = 0; i < 4; ++i) {
      if (const auto stop = door_->serve(status_)) asked = stop;
    }
    return asked;
  }
  static bool is_open(const Fd& connection) {
    char byte = 0;
    return ::recv(connection.get(), &byte, 1, MSG_DONTWAIT) < 0;
  }

  std::string top_;
  std::string directory_;
  std::optional<RunSocket> socket_;
  std::optional<Door> door_;
  RunStatus status_;
};

TEST_F(ADoor, TellsTheStatusAndClosesTheConnection) {
  const Fd visitor = visit(ask_for_status);
  EXPECT_FALSE(serve());
  const auto answer = read_fd(visitor.get(), "the answer", 65536);
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, encode(status_));
}

TEST_F(ADoor, HearsAStopAndKeepsWhoAskedWaitingForTheEnd) {
  const Fd visitor = visit("sto");
  EXPECT_FALSE(serve());
  say(visitor, "p\n");
  EXPECT_EQ(serve(), Stop::gently);
  EXPECT_TRUE(is_open(visitor));
  EXPECT_EQ((visit(ask_for_stop_now), serve()), Stop::now);
}

TEST_F(ADoor, SendsAwayWhoSaysSomethingElseOrTooMuch) {
  for (const std::string& words : {std::string("stop it\n"), std::string(100, 's')}) {
    const Fd visitor = visit(words);
    EXPECT_FALSE(serve());
    EXPECT_FALSE(is_open(visitor));
  }
}

TEST_F(ADoor, IsOpenToSixteenAtOnceAndTheOldestMakesRoom) {
  std::vector<Fd> visitors;
  for (int i = 0; i < 17; ++i) {
    visitors.push_back(visit("s"));
    EXPECT_FALSE(serve());
  }
  EXPECT_FALSE(is_open(visitors[0]));
  EXPECT_TRUE(is_open(visitors[1]));
  const Fd last = visit(ask_for_stop);
  EXPECT_EQ(serve(), Stop::gently);
}

TEST_F(ADoor, ReservesItsNameAndWhatAKilledRunLeftIsRemoved) {
  EXPECT_FALSE(RunSocket::listen(directory_, "coder-1", control_suffix));
  ASSERT_TRUE(remove_dead_sockets(directory_, "coder-1"));
  EXPECT_EQ(agents_in(directory_).value(), std::vector<std::string>{"coder-1"});
  // The file stays where the process that listened was killed.
  const std::string path = directory_ + "/coder-1.ctl";
  std::filesystem::rename(path, path + ".kept");
  door_.reset();
  socket_.reset();
  std::filesystem::rename(path + ".kept", path);
  EXPECT_FALSE(connect_run(directory_, "coder-1", control_suffix).value());
  ASSERT_TRUE(remove_dead_sockets(directory_, "coder-1"));
  EXPECT_EQ(agents_in(directory_).value(), std::vector<std::string>{});
}

TEST_F(ADoor, IsAwaitedWhereItsOwnerIsAboutToEnd) {
  auto ending = RunSocket::listen(directory_, "coder-2", admin_suffix);
  ASSERT_TRUE(ending);
  const Fd kept(::dup(ending->fd()));  // as of a process that has not ended yet
  EXPECT_FALSE(RunSocket::listen(directory_, "coder-2", admin_suffix));
  std::thread end([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ::shutdown(kept.get(), SHUT_RDWR);
  });
  EXPECT_TRUE(RunSocket::listen(directory_, "coder-2", admin_suffix, std::chrono::seconds(60)));
  end.join();
}

TEST_F(ADoor, IsNotLookedForInADirectoryThatOthersCanWriteTo) {
  ASSERT_EQ(::chmod(directory_.c_str(), 0777), 0);
  EXPECT_FALSE(agents_in(directory_));
  ASSERT_EQ(::chmod(directory_.c_str(), 0700), 0);
  EXPECT_EQ(agents_in(top_ + "/none").value(), std::vector<std::string>{});
}

}  // namespace
}  // namespace sluice::launcher
