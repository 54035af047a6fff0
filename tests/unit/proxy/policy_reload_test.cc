#include "proxy/daemon/policy_reload.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/log.h"

namespace sluice::proxy {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

// A policy with `rules` rules.
std::string policy_of(int rules) {
  std::string text = "version: 1\nagents:\n  coder-1:\n    allow:\n";
  for (int i = 0; i < rules; ++i) text += fmt::format("      - {{host: n{}.test}}\n", i);
  return text;
}

// A directory with a policy in it, and whoever waits for it to change.
class PolicyFiles : public testing::Test {
 protected:
  PolicyFiles() {
    log::init("test", log::Level::info);
    std::string name = fs::temp_directory_path() / "sluice-policy-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    fs::create_directory(at("etc"));
  }
  ~PolicyFiles() override {
    reload_.reset();
    fs::remove_all(folder_);
  }

  std::string at(std::string_view name) const { return fmt::format("{}/{}", folder_, name); }
  void put(std::string_view name, int rules) const { put_text(name, policy_of(rules)); }
  // Whole at once, as a good editor does it.
  void put_text(std::string_view name, const std::string& text) const {
    const std::string draft = at(name) + ".new";
    std::ofstream(draft) << text;
    fs::rename(draft, at(name));
  }

  // Watches `name` as it is now.
  void begin(std::string_view name, std::size_t most_watches = 4096) {
    const auto sources = allowlists::read_sources(at(name));
    PolicyEdition in_force = no_policy();
    in_force.path = at(name);
    if (sources) in_force.digest = digest_of(*sources);
    const auto tell = [this](Reloaded reloaded) {
      const std::lock_guard lock(mutex_);
      told_.push_back(std::move(reloaded));
      changed_.notify_one();
    };
    auto reload = PolicyReload::start(
        in_force, tell, {.quiet = 20ms, .longest = 200ms, .most_watches = most_watches});
    ASSERT_TRUE(reload);
    reload_ = std::move(*reload);
    // Until it has looked for the first time: what is asked afterwards is one reading more.
    reload_->ask();
    next();
  }

  std::optional<Reloaded> next(std::chrono::milliseconds within = 60s) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, within, [&] { return !told_.empty(); })) return std::nullopt;
    Reloaded first = std::move(told_.front());
    told_.pop_front();
    return first;
  }
  // How many rules the next policy has that is what is `wanted`, or else the last one; -1: it was
  // broken, -2: there was none, -3: nothing changed. What lies between two states may be seen.
  int next_rules(int wanted) {
    for (int last = -2;;) {
      const auto reloaded = next();
      if (!reloaded) return last;
      last = reloaded->edition ? static_cast<int>(reloaded->edition->policy->rule_count()) : -3;
      if (!reloaded->outcome.ok) last = -1;
      if (last == wanted) return last;
    }
  }

  std::string folder_;
  std::unique_ptr<PolicyReload> reload_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Reloaded> told_;
};

TEST_F(PolicyFiles, AreReadAgainHoweverTheyAreReplaced) {
  put("etc/policy.yaml", 1);
  begin("etc/policy.yaml");
  std::ofstream(at("etc/policy.yaml")) << policy_of(2);
  EXPECT_EQ(next_rules(2), 2) << "written in place";
  for (const int rules : {3, 4}) {
    put("etc/.policy.yaml.swp", rules);
    fs::rename(at("etc/.policy.yaml.swp"), at("etc/policy.yaml"));
    EXPECT_EQ(next_rules(rules), rules) << "renamed over it";
  }
  fs::rename(at("etc/policy.yaml"), at("etc/policy.yaml~"));
  put("etc/policy.yaml", 5);
  EXPECT_EQ(next_rules(5), 5) << "moved away and written anew";
  fs::remove(at("etc/policy.yaml"));
  EXPECT_EQ(next_rules(-1), -1) << "deleted";
  put("etc/policy.yaml", 6);
  EXPECT_EQ(next_rules(6), 6) << "and written again";
  fs::create_directory(at("new"));
  put("new/policy.yaml", 7);
  fs::rename(at("etc"), at("old"));
  fs::rename(at("new"), at("etc"));
  EXPECT_EQ(next_rules(7), 7) << "its directory replaced";
  put("etc/policy.yaml", 8);
  EXPECT_EQ(next_rules(8), 8) << "in the new directory";
  fs::remove(at("etc/policy.yaml"));
  put("old/policy.yaml", 9);
  fs::create_symlink("../old/policy.yaml", at("etc/policy.yaml"));
  EXPECT_EQ(next_rules(9), 9) << "replaced by a link";
  put("old/policy.yaml", 10);
  EXPECT_EQ(next_rules(10), 10) << "behind the link";
}

TEST_F(PolicyFiles, AreFollowedThroughTheLinksOfAKubernetesVolume) {
  const auto publish = [&](int number) {
    const std::string version = fmt::format("etc/..2026_{}", number);
    fs::create_directory(at(version));
    put(version + "/policy.yaml", number);
    fs::create_symlink(fmt::format("..2026_{}", number), at("etc/..data_tmp"));
    fs::rename(at("etc/..data_tmp"), at("etc/..data"));
    fs::remove_all(at(fmt::format("etc/..2026_{}", number - 1)));
  };
  for (const std::string_view path : {"etc/policy.yaml", "etc"}) {
    fs::remove_all(at("etc"));
    fs::create_directory(at("etc"));
    publish(1);
    fs::create_symlink("..data/policy.yaml", at("etc/policy.yaml"));
    begin(path);
    for (const int number : {2, 3, 4}) {
      publish(number);
      EXPECT_EQ(next_rules(number), number) << path;
    }
    reload_.reset();
    told_.clear();
  }
}

TEST_F(PolicyFiles, OfADirectoryMayComeAndGo) {
  put("etc/a.yaml", 1);
  begin("etc");
  put_text("etc/b.yaml", "version: 1\nagents:\n  b-1:\n    allow: [{host: b.test}]\n");
  EXPECT_EQ(next_rules(2), 2);
  fs::remove(at("etc/b.yaml"));
  EXPECT_EQ(next_rules(1), 1);
  fs::remove_all(at("etc"));
  EXPECT_EQ(next_rules(-1), -1);
  fs::create_directory(at("etc"));
  put("etc/c.yaml", 3);
  EXPECT_EQ(next_rules(3), 3);
}

TEST_F(PolicyFiles, AreNeverHalfOfOneEditionAndHalfOfTheNext) {
  const auto publish = [&](int number) {
    const std::string version = fmt::format("etc/..v{}", number);
    fs::create_directory(at(version));
    put(version + "/a.yaml", number);
    // Long to read, so that a swap falls between the files.
    std::ofstream(at(version + "/a.yaml"), std::ios::app) << '#' << std::string(200'000, 'x');
    put_text(version + "/b.yaml",
             fmt::format("version: 1\nagents:\n  b-1:\n    allow: [{}{{host: b.test}}]\n",
                         number == 1 ? "" : "{host: c.test}, "));
  };
  publish(1);
  publish(2);
  const auto swap = [&](int number) {
    fs::create_symlink(fmt::format("..v{}", number), at("etc/..data_tmp"));
    fs::rename(at("etc/..data_tmp"), at("etc/..data"));
  };
  swap(1);
  for (const char* name : {"a.yaml", "b.yaml"}) {
    fs::create_symlink(fmt::format("..data/{}", name), at(fmt::format("etc/{}", name)));
  }
  begin("etc");
  std::thread asking([&] {
    for (int i = 0; i < 2000; ++i) {
      reload_->ask();
      std::this_thread::sleep_for(1ms);
    }
  });
  for (int i = 0; i < 400; ++i) {
    swap(i % 2 + 1);
    std::this_thread::sleep_for(5ms);
  }
  asking.join();
  swap(2);
  int last = 0;
  while (const auto reloaded = next(last == 4 ? 400ms : 60s)) {
    if (!reloaded->edition) continue;
    last = static_cast<int>(reloaded->edition->policy->rule_count());
    EXPECT_TRUE(last == 2 || last == 4) << last;
  }
  EXPECT_EQ(last, 4);
}

TEST_F(PolicyFiles, MayBeMissingAtFirstDirectoriesIncluded) {
  begin("etc/a/b/policy.yaml");
  fs::create_directories(at("etc/a/b"));
  put("etc/a/b/policy.yaml", 4);
  EXPECT_EQ(next_rules(4), 4);
}

TEST_F(PolicyFiles, ThatAreBrokenAreToldOnceAndAGoodOnesReturnIsToldToo) {
  put("etc/policy.yaml", 1);
  begin("etc/policy.yaml");
  put_text("etc/policy.yaml", "version: 1\nagnets: {}\n");
  auto broken = next();
  ASSERT_TRUE(broken);
  EXPECT_FALSE(broken->outcome.ok);
  ASSERT_FALSE(broken->outcome.errors.empty());
  EXPECT_EQ(broken->outcome.errors[0].where, (Mark{"policy.yaml", 2, 1}));
  put_text("etc/policy.yaml", "version: 1\nagnets: {}\n");
  EXPECT_FALSE(next(300ms)) << "nothing new about it";
  put("etc/policy.yaml", 1);
  EXPECT_EQ(next_rules(-3), -3) << "good again, and in force all the time";
  put("etc/policy.yaml", 1);
  EXPECT_FALSE(next(300ms)) << "the same bytes are no news";
}

TEST_F(PolicyFiles, AreReadOnceMoreForAllTheWishesThatCameDuringAReading) {
  put("etc/policy.yaml", 1);
  begin("etc/policy.yaml");
  for (int i = 0; i < 1000; ++i) reload_->ask();
  int readings = 0;
  while (next(readings == 0 ? 60s : 300ms)) ++readings;
  EXPECT_GE(readings, 1);
  EXPECT_LT(readings, 1000);
  put("etc/policy.yaml", 2);
  reload_->ask();
  EXPECT_EQ(next_rules(2), 2) << "a wish waits for no quiet";
}

TEST_F(PolicyFiles, ThatCannotBeWatchedAreSaidSoOnceAndReadWhenAsked) {
  put("etc/policy.yaml", 1);
  testing::internal::CaptureStderr();
  begin("etc/policy.yaml", 1);
  put("etc/policy.yaml", 2);
  EXPECT_FALSE(next(300ms));
  reload_->ask();
  EXPECT_EQ(next_rules(2), 2);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("for changes of the policy: No space left on device"));
  EXPECT_THAT(
      said, HasSubstr("hint: raise fs.inotify.max_user_watches, or send SIGHUP after each change"));
  EXPECT_EQ(said.find("for changes"), said.rfind("for changes")) << said;
}

}  // namespace
}  // namespace sluice::proxy
