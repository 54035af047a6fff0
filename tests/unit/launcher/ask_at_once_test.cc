// Real sockets in a directory of its own; a thread answers them.
#include "launcher/sessions/ask_at_once.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "base/fd.h"
#include "base/io.h"

namespace sluice::launcher {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Answers = std::vector<Result<std::optional<std::string>>>;

const Patience patient{.each = 60s};

class AskAtOnce : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sluice-ask-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  static sockaddr_un address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    return address;
  }
  Fd listen(const std::string& name, int backlog = 16) const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un at = address(path(name));
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(socket.get(), backlog), 0);
    return socket;
  }
  Fd connect(const std::string& name) const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un at = address(path(name));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    return socket;
  }
  static Fd accept(const Fd& listener) {
    return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  // What it was asked, without a word in return.
  static std::string hear(const Fd& connection) {
    char text[64];
    const ssize_t size = ::recv(connection.get(), text, sizeof text, 0);
    return {text, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }
  // As a server does: whoever closes with the question unread resets the connection.
  static void answer(const Fd& listener, std::string_view text) {
    const Fd connection = accept(listener);
    hear(connection);
    say(connection, text);
  }
  static void say(const Fd& connection, std::string_view text) {
    EXPECT_TRUE(write_all(connection.get(), "the socket", text));
  }

  std::string directory_;
};

// Who asks one after the other would wait for the first answer, which comes after the last
// question.
TEST_F(AskAtOnce, AsksTheLastBeforeTheFirstHasAnswered) {
  const Fd first = listen("first");
  const Fd last = listen("last");
  std::string heard;
  std::jthread both([&] {
    const Fd one = accept(first);
    const Fd two = accept(last);
    heard = hear(one) + hear(two);
    say(two, "I am the last");
    say(one, "I am ");
    say(one, "the first");
  });
  const Answers said = ask_at_once({{path("first"), "1?"}, {path("last"), "2?"}}, patient);
  both.join();
  EXPECT_EQ(heard, "1?2?");
  EXPECT_EQ(said[0].value(), "I am the first");
  EXPECT_EQ(said[1].value(), "I am the last");
}

TEST_F(AskAtOnce, NamesWhoIsSilentAndHasTheAnswersOfTheOthers) {
  const Fd silent = listen("silent");  // the kernel connects, and nobody accepts
  const Fd full = listen("full", 0);
  const Fd filler = connect("full");
  const Fd mumbles = listen("mumbles");
  const Fd ends = listen("ends");
  const Fd answers = listen("answers");
  Fd unfinished;
  std::jthread others([&] {
    unfinished = accept(mumbles);
    say(unfinished, "I");
    accept(ends);
    answer(answers, "yes");
  });
  const Answers said = ask_at_once({{path("silent"), "?"},
                                    {path("full"), "?"},
                                    {path("mumbles"), "?"},
                                    {path("ends"), "?"},
                                    {path("nobody"), "?"},
                                    {path(std::string(200, 'x')), "?"},
                                    {path("answers"), "?"}},
                                   {.each = 3s});
  others.join();
  for (const std::size_t i : {0, 1, 2}) {
    ASSERT_FALSE(said[i]) << i;
    EXPECT_EQ(said[i].error().what, "no answer within 3 seconds") << i;
  }
  EXPECT_EQ(said[3].value(), "") << "with the question unread";
  EXPECT_EQ(said[4].value(), std::nullopt);
  EXPECT_THAT(said[5].error().what, HasSubstr("is too long for a socket's path"));
  EXPECT_EQ(said[6].value(), "yes");
}

// It is asked first, and tried again until its listener has room.
TEST_F(AskAtOnce, WaitsForAPlaceInAFullBacklogWhileItAsksTheOthers) {
  const Fd full = listen("full", 0);
  const Fd filler = connect("full");
  const Fd other = listen("other");
  std::jthread busy([&] {
    answer(other, "other");
    accept(full);  // the filler
    answer(full, "at last");
  });
  const Answers said = ask_at_once({{path("full"), "?"}, {path("other"), "?"}}, patient);
  EXPECT_EQ(said[0].value(), "at last");
  EXPECT_EQ(said[1].value(), "other");
}

TEST_F(AskAtOnce, HoldsNoMoreConnectionsThanItMayAndAsksTheOthersWhenOneEnds) {
  const Fd silent = listen("silent");
  const Fd answers = listen("answers");
  std::jthread other([&] {
    for (int i = 0; i < 4; ++i) answer(answers, "yes");
  });
  const std::vector<Question> questions{{path("answers"), "?"}, {path("answers"), "?"},
                                        {path("nobody"), "?"},  {path("answers"), "?"},
                                        {path("silent"), "?"},  {path("answers"), "?"}};
  const Answers said = ask_at_once(questions, {.each = 3s, .most_open = 1});
  for (const std::size_t i : {0, 1, 3, 5}) EXPECT_EQ(said[i].value(), "yes") << i;
  EXPECT_EQ(said[2].value(), std::nullopt);
  EXPECT_THAT(said[4].error().what, HasSubstr("no answer within"));
}

TEST_F(AskAtOnce, HearsNoMoreThanItWantsTo) {
  const Fd endless = listen("endless");
  std::jthread talker([&] {
    const Fd one = accept(endless);
    const std::string text(4096, 'x');
    while (::send(one.get(), text.data(), text.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  const Answers said =
      ask_at_once({{path("endless"), "?"}}, {.each = 60s, .largest_answer = 100'000});
  EXPECT_EQ(said[0].error().what,
            "it says more than 100000 bytes, or all together more than 268435456");
  EXPECT_TRUE(ask_at_once({}).empty());
}

TEST_F(AskAtOnce, HearsNoMoreOfAllTogether) {
  const std::vector<Question> questions{
      {path("answers"), "?"}, {path("answers"), "?"}, {path("answers"), "?"}};
  const Fd answers = listen("answers");
  std::jthread talker([&] {
    for (std::size_t i = 0; i < questions.size(); ++i) answer(answers, "yes");
  });
  const Answers said = ask_at_once(questions, {.each = 60s, .most_open = 1, .all_answers = 7});
  EXPECT_EQ(said[0].value(), "yes");
  EXPECT_EQ(said[1].value(), "yes");
  EXPECT_THAT(said[2].error().what, HasSubstr("all together more than 7"));
}

}  // namespace
}  // namespace sluice::launcher
