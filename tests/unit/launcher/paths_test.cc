#include "launcher/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

namespace sluice::launcher {
namespace {

class Paths : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "sluice-paths-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = std::filesystem::canonical(name).string();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  std::string at(const std::string& path) const { return root_ + "/" + path; }

  std::string root_;
};

TEST(PathText, IsBelowByWholeNames) {
  EXPECT_TRUE(is_at_or_below("/a/b", "/a/b"));
  EXPECT_TRUE(is_at_or_below("/a/b/c", "/a/b"));
  EXPECT_TRUE(is_at_or_below("/a", "/"));
  EXPECT_FALSE(is_at_or_below("/a/bc", "/a/b"));
  EXPECT_FALSE(is_at_or_below("/a", "/a/b"));
}

TEST(PathText, BecomesAbsoluteAndPlain) {
  EXPECT_EQ(absolute("/a//b/./c/../d/"), "/a/b/d");
  EXPECT_EQ(absolute("/.."), "/");
  EXPECT_EQ(absolute("//a"), "/a");
  EXPECT_EQ(absolute("/"), "/");
  EXPECT_EQ(absolute("x"), std::filesystem::current_path().string() + "/x");
}

TEST_F(Paths, TellEveryLinkThatLeadsToAFile) {
  std::filesystem::create_directories(at("workspace"));
  std::filesystem::create_directories(at("safe"));
  std::filesystem::create_symlink(at("workspace/middle"), at("safe/policy"));
  std::filesystem::create_symlink("../safe/real", at("workspace/middle"));
  EXPECT_THAT(touched_paths(at("safe/policy")),
              ::testing::UnorderedElementsAre(at("safe/policy"), at("safe/policy"),
                                              at("workspace/middle"), at("safe/real")));
}

TEST_F(Paths, TellALinkedDirectoryOnTheWay) {
  std::filesystem::create_directories(at("real"));
  std::filesystem::create_directory_symlink("real", at("link"));
  EXPECT_THAT(touched_paths(at("link/policy")),
              ::testing::IsSupersetOf({at("link"), at("real/policy")}));
}

TEST_F(Paths, FollowDotDotBehindALinkAsTheKernelDoes) {
  std::filesystem::create_directories(at("a/b"));
  std::filesystem::create_directory_symlink(at("a/b"), at("link"));
  EXPECT_THAT(touched_paths(at("link/../policy")), ::testing::Contains(at("a/policy")));
}

TEST_F(Paths, DoNotFollowALoopForEver) {
  std::filesystem::create_symlink(at("two"), at("one"));
  std::filesystem::create_symlink(at("one"), at("two"));
  EXPECT_LE(touched_paths(at("one")).size(), 43U);
}

}  // namespace
}  // namespace sluice::launcher
