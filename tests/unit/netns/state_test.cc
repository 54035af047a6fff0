#include "netns/named/state.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace sluice::netns {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class State : public testing::Test {
 protected:
  State() {
    std::string pattern = testing::TempDir() + "/sluice-state-XXXXXX";
    top_ = ::mkdtemp(pattern.data());
  }
  ~State() override { fs::remove_all(top_); }

  std::string path() const { return top_ + "/run/sluice/netns"; }
  StateFolder open() const {
    auto folder = StateFolder::open(path());
    EXPECT_TRUE(folder) << folder.error().what;
    return std::move(*folder);
  }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(path() + "/" + name) << text;
  }

  std::string top_;
};

LeaseState example() {
  LeaseState state;
  state.kind = LeaseState::Kind::cni;
  state.id = "0123abcd.eth0";
  state.agent = "team.pod";
  state.netns = "/run/netns/cni-1";
  state.proxy = "/run/sluice/handover.sock";
  state.netns_cookie = 0xffffffffffffffff;
  state.complete = true;
  state.supervisor = 4711;
  state.supervisor_born = 12345678901;
  state.withdrawn = {"a sentence with \"quotes\" and \x1b"};
  state.facts = {{"interface", "eth0"}};
  return state;
}

TEST_F(State, IsReadAsItWasWritten) {
  const StateFolder folder = open();
  ASSERT_TRUE(folder.write(example()));
  const auto read = folder.read(LeaseState::Kind::cni, "0123abcd.eth0");
  ASSERT_TRUE(read && *read);
  EXPECT_EQ(**read, example());
  struct stat status {};
  ASSERT_EQ(::stat((path() + "/cni-0123abcd.eth0.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(State, IsReplacedWholeAndRemovedTwice) {
  const StateFolder folder = open();
  LeaseState state = example();
  ASSERT_TRUE(folder.write(state));
  state.complete = false;
  ASSERT_TRUE(folder.write(state));
  EXPECT_FALSE((**folder.read(state.kind, state.id)).complete);
  EXPECT_TRUE(folder.remove(state.kind, state.id));
  EXPECT_TRUE(folder.remove(state.kind, state.id));
  EXPECT_FALSE(*folder.read(state.kind, state.id));
}

TEST_F(State, NamesThatLeadElsewhereAreRefused) {
  const StateFolder folder = open();
  for (const char* const id : {"", "..", "../x", "a/b", ".hidden", "-x", "a b", "\xc3\xbc"}) {
    LeaseState state = example();
    state.id = id;
    EXPECT_FALSE(folder.write(state)) << id;
    EXPECT_FALSE(folder.read(state.kind, id)) << id;
    EXPECT_FALSE(folder.remove(state.kind, id)) << id;
  }
  LeaseState state = example();
  state.id = std::string(max_state_id, 'x');
  EXPECT_TRUE(folder.write(state));
  state.id += 'x';
  EXPECT_FALSE(folder.write(state));
}

TEST_F(State, ListsWhatItHasAndNamesWhatCannotBeRead) {
  const StateFolder folder = open();
  LeaseState state = example();
  ASSERT_TRUE(folder.write(state));
  state.kind = LeaseState::Kind::named;
  state.id = "coder-1";
  ASSERT_TRUE(folder.write(state));
  put("named-a.json", "{}");
  put("named-b.json", encode(state));  // tells of another
  put("named-c.json.new", encode(state));
  const auto lock = folder.lock();  // its file is none of them
  const auto listing = folder.list();
  ASSERT_TRUE(listing);
  EXPECT_THAT(listing->damaged, ElementsAre("named-a.json", "named-b.json", "named-c.json.new"));
  ASSERT_EQ(listing->states.size(), 2U);
  EXPECT_EQ(listing->states[0].id, "coder-1");
  for (const std::string& name : listing->damaged) EXPECT_TRUE(folder.remove_file(name));
  EXPECT_TRUE(folder.list()->damaged.empty());
}

TEST_F(State, SymbolicLinksAndPipesAreNotFollowed) {
  const StateFolder folder = open();
  const std::string target = top_ + "/precious";
  std::ofstream(target) << encode(example());
  fs::create_symlink(target, path() + "/cni-0123abcd.eth0.json");
  EXPECT_FALSE(folder.read(LeaseState::Kind::cni, "0123abcd.eth0"));
  ASSERT_EQ(::mkfifo((path() + "/named-pipe.json").c_str(), 0600), 0);
  EXPECT_EQ(folder.list()->damaged.size(), 2U);
  EXPECT_TRUE(folder.remove(LeaseState::Kind::cni, "0123abcd.eth0"));
  EXPECT_TRUE(fs::exists(target));
}

TEST_F(State, AFolderThatOthersCanWriteIsRefused) {
  (void)open();
  ASSERT_EQ(::chmod(path().c_str(), 0770), 0);
  auto refused = StateFolder::open(path());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("another user's, or open to others"));
  fs::rename(path(), path() + ".aside");
  fs::create_directory_symlink(path() + ".aside", path());
  EXPECT_FALSE(StateFolder::open(path()));
}

TEST_F(State, TheLockIsOnesAtATime) {
  const StateFolder folder = open();
  auto held = folder.lock();
  ASSERT_TRUE(held);
  const auto second = folder.lock(std::chrono::milliseconds(20));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().what, HasSubstr("another sluice-netns has held"));
  held->reset();
  EXPECT_TRUE(folder.lock(std::chrono::milliseconds(20)));
}

TEST_F(State, OtherVersionsKeysAndTypesAreErrors) {
  const std::string whole = encode(example());
  ASSERT_TRUE(decode_state(whole));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{\"v\":1}"), with("\"v\": 1", "\"v\": 2"),
        with("\"cni\"", "\"pod\""), with("true", "\"yes\""), with("\"agent\"", "\"agents\""),
        with("{\n", "{\n\"more\": 1,"), whole.substr(0, whole.size() / 2)}) {
    EXPECT_FALSE(decode_state(text)) << text;
  }
}

TEST(StartTime, TellsAProcessFromALaterOneOfTheSameNumber) {
  const auto own = start_time_of(::getpid());
  ASSERT_TRUE(own);
  EXPECT_EQ(start_time_of(::getpid()), own);
  EXPECT_NE(start_time_of(1), own);
  EXPECT_FALSE(start_time_of(0x7fffffff));
}

}  // namespace
}  // namespace sluice::netns
