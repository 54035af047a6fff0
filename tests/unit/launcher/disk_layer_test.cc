#include "launcher/roots/disk_layer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launcher/roots/layer_room.h"
#include "launcher/roots/remove_tree.h"

namespace sluice::launcher {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t mib = std::uint64_t{1} << 20U;

class Layers : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "sluice-layers-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top_ = std::filesystem::canonical(name).string();
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(top_)); }
  std::string at(const std::string& path) const { return top_ + "/" + path; }
  Fd open(const std::string& path) const {
    return Fd(::open(at(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  void make(const std::string& path) const { std::filesystem::create_directories(at(path)); }
  void write(const std::string& path, std::size_t bytes) const {
    std::ofstream(at(path)) << std::string(bytes, 'x');
  }
  LayerUse measured(const std::string& path, std::uint64_t bytes) const {
    const Fd directory = open(path);
    const auto use = measure_layer(directory.get(), bytes);
    EXPECT_TRUE(use);
    return use.value_or(LayerUse{});
  }
  // `levels` directories in one another, whose path is longer than any path may be.
  void make_deep(const std::string& path, int levels, mode_t each_seventh) const {
    make(path);
    Fd at_depth = open(path);
    for (int level = 0; level < levels; ++level) {
      ASSERT_EQ(::mkdirat(at_depth.get(), "directory", 0700), 0);
      Fd next(::openat(at_depth.get(), "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      ASSERT_TRUE(next);
      const Fd file(::openat(next.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      ASSERT_TRUE(file);
      if (level % 7 == 0) {
        ASSERT_EQ(::fchmod(at_depth.get(), each_seventh), 0);
      }
      at_depth = std::move(next);
    }
  }

  std::string top_;
};

TEST_F(Layers, AreRemovedHoweverDeepTheyAreAndClosed) {
  make_deep("deep", 1000, 0);
  make("deep-beside/0");  // the name that the first directory from below would get
  ASSERT_EQ(::rename(at("deep-beside").c_str(), at("beside").c_str()), 0);
  make("beside/0/0/0");
  make("beside/1/1");
  for (const char* path : {"deep", "beside", "nothing"}) {
    const auto removed = remove_tree(at(path));
    EXPECT_TRUE(removed) << (removed ? "" : to_string(removed.error()));
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::symlink_status(at(path)))) << path;
  }
}

TEST_F(Layers, AreRemovedWithoutFollowingALinkOutOfThem) {
  make("outside/kept");
  make("layer/inner");
  std::filesystem::create_directory_symlink(at("outside"), at("layer/out"));
  std::filesystem::create_directory_symlink(at("outside"), at("layer/inner/out"));
  std::filesystem::create_directory_symlink(at("outside"), at("link"));
  EXPECT_TRUE(remove_tree(at("layer")));
  EXPECT_TRUE(remove_tree(at("link")));
  EXPECT_TRUE(std::filesystem::exists(at("outside/kept")));
}

TEST_F(Layers, AreMeasuredByWhatTheyTakeOnDisk) {
  make("layer/a/b");
  write("layer/a/b/file", mib);
  std::filesystem::create_hard_link(at("layer/a/b/file"), at("layer/another"));
  std::filesystem::resize_file(at("layer/a/b/file"), 50 * mib);  // a hole
  const LayerUse use = measured("layer", 100 * mib);
  EXPECT_EQ(use.entries, 4U);
  EXPECT_GE(use.bytes, mib);
  EXPECT_LT(use.bytes, 2 * mib);
  EXPECT_EQ(over_cap(use, 2 * mib), "");
  EXPECT_THAT(over_cap(measured("layer", mib / 2), mib / 2),
              HasSubstr("more than its cap of 0 MiB"));
}

TEST_F(Layers, HaveAsManyFilesAndDirectoriesAsAMemoryOfThatSize) {
  make("layer");
  for (int i = 0; i < 300; ++i) write("layer/" + std::to_string(i), 0);
  EXPECT_EQ(over_cap(measured("layer", 2 * mib), 2 * mib), "");
  EXPECT_THAT(over_cap(measured("layer", mib), mib), HasSubstr("the 256 files and directories"));
}

TEST_F(Layers, ThatAreDeeperThanIsWatchedAreOverTheirCap) {
  make_deep("deep", deepest_watched + 1, 0700);
  make_deep("fine", deepest_watched - 1, 0700);
  EXPECT_THAT(over_cap(measured("deep", 100 * mib), 100 * mib),
              HasSubstr("cannot be watched, more than 200 deep"));
  EXPECT_EQ(over_cap(measured("fine", 100 * mib), 100 * mib), "");
}

TEST(RoomForALayer, IsKeptForOthers) {
  EXPECT_EQ(without_room({.bytes = 256 * mib, .inodes = 1024}), "");
  EXPECT_THAT(without_room({.bytes = 256 * mib - 1, .inodes = 1024}),
              HasSubstr("has 255 MiB left, and 256 are kept free"));
  EXPECT_THAT(without_room({.bytes = 256 * mib, .inodes = 1023}),
              HasSubstr("has 1023 inodes left, and 1024 are kept free"));
}

TEST_F(Layers, OfARunAreItsOwnAndGoWithIt) {
  auto first = DiskLayer::make(top_);
  if (!first) GTEST_SKIP() << to_string(first.error());
  auto second = DiskLayer::make(top_);
  ASSERT_TRUE(second);
  EXPECT_NE(first->path(), second->path());
  for (const char* name : {"upper", "work"}) {
    EXPECT_TRUE(std::filesystem::is_directory(first->path() + "/" + name)) << name;
  }
  struct stat status {};
  ASSERT_EQ(::stat(first->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0700U);
  ASSERT_EQ(::stat((first->path() + "/upper").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0755U);
  const std::string gone = first->path();
  EXPECT_TRUE(first->remove());
  EXPECT_FALSE(std::filesystem::exists(gone));
  EXPECT_TRUE(std::filesystem::exists(second->path()));
}

TEST_F(Layers, OfARunThatWasKilledAreRemovedByTheNext) {
  const std::string store = disk_layers_directory(top_);
  auto alive = DiskLayer::make(top_);
  if (!alive) GTEST_SKIP() << to_string(alive.error());
  make("sluice/overlays/run-killed/upper/closed/inner");
  write("sluice/overlays/run-killed/upper/closed/inner/file", 1);
  ASSERT_EQ(::chmod((store + "/run-killed/upper/closed").c_str(), 0), 0);
  const auto next = DiskLayer::make(top_);
  ASSERT_TRUE(next);
  EXPECT_THAT(next->notices(), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(store + "/run-killed"));
  EXPECT_TRUE(std::filesystem::exists(alive->path() + "/upper"));
}

}  // namespace
}  // namespace sluice::launcher
