#include "launcher/plan/writable_audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "launcher/top_levels.h"
#include "sample.h"

namespace sluice::launcher {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

EnvFiles env_files_of(const std::string& directory) {
  return find_env_files(directory, look_at_writable(directory));
}

class AWritableDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(::mkdtemp(root_.data()), nullptr);
    std::filesystem::create_directories(root_ + "/a/b/c");
    root_ = std::filesystem::canonical(root_).string();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void touch(const std::string& path) { std::ofstream(root_ + "/" + path) << "x"; }
  void fifo(const std::string& path) { ASSERT_EQ(::mkfifo((root_ + "/" + path).c_str(), 0600), 0); }

  std::string root_ = ::testing::TempDir() + "writable-audit-XXXXXX";
};

TEST_F(AWritableDirectory, IsSearchedForFifosInItsTopLevels) {
  fifo("one");
  fifo("a/b/three");
  fifo("a/b/c/four");
  std::filesystem::create_directory_symlink("a/b", root_ + "/link");
  const Remarkable found = remarkable_in(look_at_writable(root_));
  EXPECT_THAT(found.fifos, ElementsAre("one", "a/b/three"));
  EXPECT_EQ(found.socket + found.device, "");
  EXPECT_THAT(remarkable_in(look_at_writable(root_ + "/nothing")).fifos, ElementsAre());
}

TEST_F(AWritableDirectory, IsLookedAtUpToABound) {
  for (int i = 0; i < 20'050; ++i)
    std::filesystem::create_directory(root_ + "/a/b/" + std::to_string(i));
  touch(".env");
  const TopLevels found = look_at_top_levels(root_, 3);
  EXPECT_EQ(found.entries.size(), 20'000U);
  EXPECT_FALSE(found.is_whole);
  const EnvFiles files = env_files_of(root_);
  EXPECT_THAT(files.paths, Contains(root_ + "/.env"));
  EXPECT_FALSE(files.is_whole);
  RunRequest request = sample_request();
  request.env_files = files;
  EXPECT_THAT(writable_notices(request, {}),
              Contains(::testing::HasSubstr("may have been overlooked")));
}

TEST_F(AWritableDirectory, IsSearchedForFilesOfTheEnvironment) {
  for (const char* name : {".env", ".env.local", ".env.example", "a/.env.x.sample", "a/.env.prod",
                           "a/b/.env", "a/b/c/.env", ".envrc", "x.env"}) {
    touch(name);
  }
  std::filesystem::create_directories(root_ + "/node_modules/x");
  touch("node_modules/x/.env");
  std::filesystem::create_directory(root_ + "/a/.env.d");
  touch("target");
  std::filesystem::create_symlink("../target", root_ + "/a/.env.link");
  std::filesystem::create_symlink("/etc/passwd", root_ + "/a/.env.outside");
  std::filesystem::create_symlink(".env.loop", root_ + "/a/.env.loop");
  EXPECT_THAT(env_files_of(root_).paths,
              ElementsAre(root_ + "/.env", root_ + "/.env.local", root_ + "/a/.env.prod",
                          root_ + "/a/b/.env", root_ + "/target"));
  EXPECT_THAT(env_files_of(root_ + "/a/b").paths,
              ::testing::IsSupersetOf({root_ + "/.env", root_ + "/a/.env.prod", root_ + "/a/b/.env",
                                       root_ + "/a/b/c/.env"}));
}

TEST(EnvFile, IsHiddenInTheWorkspaceUnlessItIsBound) {
  RunRequest request = sample_request();
  request.env_files.paths = {"/home/ana/project/.env"};
  auto plan = make_plan(request, sample_machine());
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->masks, Contains("/home/ana/project/.env"));
  EXPECT_THAT(writable_notices(request, *plan),
              ElementsAre("empty for the agent: '/home/ana/project/.env' (--bind FILE shows one)"));
  request.binds = {{"/home/ana/project/.env", "/home/ana/project/.env", Access::read_only}};
  plan = make_plan(request, sample_machine());
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->masks, Not(Contains("/home/ana/project/.env")));
  EXPECT_THAT(writable_notices(request, *plan), ElementsAre());
}

TEST(EnvFile, AboveTheWorkspaceIsHiddenWhereTheAgentWouldSeeIt) {
  RunRequest request = sample_request();
  request.workspace = "/srv/app/project";
  request.env_files.paths = {"/srv/app/.env", "/home/ana/.env"};
  request.seeds = {{"/srv", "/x", 4096}};
  const auto plan = make_plan(request, sample_machine());
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->masks, Contains("/srv/app/.env"));
  EXPECT_THAT(plan->masks, Not(Contains("/home/ana/.env")));
  for (const Mount& mount : plan->mounts) {
    if (mount.kind == Mount::Kind::seed) {
      EXPECT_THAT(mount.without, Contains("app/.env"));
    }
  }
}

TEST(FifosOfWritableBinds, AreNamed) {
  RunRequest request = sample_request();
  Remarkable found;
  for (int i = 0; i < 7; ++i) found.fifos.push_back("f" + std::to_string(i) + "\x1b");
  request.binds = {{"/srv/x", "/mnt/x", Access::read_write, found},
                   {"/srv/y", "/mnt/y", Access::read_only, found}};
  EXPECT_THAT(
      writable_notices(request, {}),
      ElementsAre("the writable bind '/srv/x' holds FIFOs, by which the agent can talk with "
                  "whoever opens them: 'f0\\x1b', 'f1\\x1b', 'f2\\x1b', 'f3\\x1b', 'f4\\x1b' "
                  "and 2 more"));
}

}  // namespace
}  // namespace sluice::launcher
