#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launcher/roots/changes.h"
#include "launcher/roots/choice.h"
#include "launcher/roots/remove_tree.h"
#include "launcher/roots/store.h"
#include "launcher/roots/sub_ids.h"
#include "launcher/sandbox/own_layer.h"
#include "launcher/sandbox/private_files.h"
#include "sample.h"

namespace sluice::launcher {
namespace {

using ::testing::HasSubstr;

class Roots : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "sluice-roots-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = std::filesystem::canonical(name).string();
    machine_ = sample_machine();
    machine_.uid = ::getuid() == 0 ? 0 : ::getuid();
    machine_.environment.push_back("XDG_DATA_HOME=" + at("data"));
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(root_)); }
  std::string at(const std::string& path) const { return root_ + "/" + path; }
  void make(const std::string& path) const { std::filesystem::create_directories(at(path)); }
  Fd open(const std::string& path) const {
    return Fd(::open(at(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  RootStore store() const { return RootStore(roots_directory(machine_)); }
  // "SOURCE" or the error's sentence and hint.
  std::string choose(const RunOptions& options) const {
    const auto root = choose_root(options, machine_, store());
    return root ? root->source : to_string(root.error());
  }

  std::string root_;
  Machine machine_;
};

TEST_F(Roots, ResolveLinksAsAProcessWouldWhoseRootTheyAre) {
  make("var/home");
  make("etc");
  std::filesystem::create_symlink("var/home", at("home"));
  std::filesystem::create_symlink("/etc", at("absolute"));
  std::filesystem::create_symlink("../../../..", at("etc/up"));
  std::filesystem::create_symlink("loop", at("loop"));
  std::filesystem::create_symlink("nowhere/x", at("dangling"));
  const Fd root = open("");
  for (const auto& [path, inside] :
       {std::pair<const char*, const char*>{"/home/ana/project", "var/home/ana/project"},
        {"/absolute/hosts", "etc/hosts"},
        {"/etc/up/home", "var/home"},
        {"/etc/up", ""},
        {"/dangling/y", "nowhere/x/y"},
        {"/new/deep/er", "new/deep/er"}}) {
    const auto resolved = resolve_inside(root.get(), path);
    ASSERT_TRUE(resolved) << path;
    EXPECT_EQ(*resolved, inside) << path;
  }
  EXPECT_FALSE(resolve_inside(root.get(), "/loop/x"));
}

TEST_F(Roots, AreTheHostsADirectoryOrANamedOne) {
  make("debian");
  make("data/sluice/roots/mine");
  ::chmod(at("data/sluice/roots").c_str(), 0700);
  EXPECT_EQ(choose({}), "/");
  EXPECT_EQ(choose({.root = "host"}), "/");
  EXPECT_EQ(choose({.root = at("debian")}), at("debian"));
  EXPECT_EQ(choose({.root = "mine"}), at("data/sluice/roots/mine"));
  EXPECT_EQ(choose({.root = at("debian/../debian/")}), at("debian"));
  EXPECT_THAT(choose({.root = "debian"}),
              HasSubstr("there is no root 'debian'\nhint: imported are: mine"));
  EXPECT_THAT(choose({.root = "/"}), HasSubstr("write --root host"));
  EXPECT_THAT(choose({.root_mode = "rw"}), HasSubstr("'rw' is not a root mode"));
  EXPECT_THAT(choose({.keep_changes = "/x"}), HasSubstr("no changes to keep"));
  EXPECT_EQ(choose({.root = "mine", .root_mode = "overlay", .keep_changes = "/x"}),
            at("data/sluice/roots/mine"));
}

TEST_F(Roots, OfTheMachineAreOverlaidForRootAloneAndOnOneFileSystem) {
  machine_.uid = 0;
  EXPECT_EQ(choose({.root_mode = "overlay"}), "/");
  machine_.mounts = {{"8:1", "/", "/"}, {"8:2", "/", "/usr"}};
  EXPECT_THAT(choose({.root_mode = "overlay"}),
              HasSubstr("the machine's /usr is another\nhint: import a root of your own once"));
  machine_.uid = 1234;
  EXPECT_THAT(choose({.root_mode = "overlay"}), HasSubstr("sluice root import NAME TAR|DIR"));
}

TEST_F(Roots, HideWhatTheMachineKeepsFromOthers) {
  for (const char* path : {"root/etc/ssl/private", "root/var/lib/db", "root/var/log", "root/srv/x",
                           "root/usr/bin", "layer", "hiding"}) {
    make(path);
  }
  for (const char* path : {"root/etc/shadow", "root/etc/hosts", "root/etc/ssl/private/key",
                           "root/usr/bin/tool", "root/core"}) {
    std::ofstream(at(path)) << "x";
  }
  std::filesystem::create_symlink("usr/bin", at("root/bin"));
  ::chmod(at("root/etc/shadow").c_str(), 0640);
  ::chmod(at("root/etc/ssl/private").c_str(), 0710);
  ::chmod(at("root/var/lib/db").c_str(), 0704);
  ::chmod(at("root/usr/bin/tool").c_str(), 0700);
  const Fd at_layer = open("layer");
  const Fd at_hiding = open("hiding");
  const Fd at_root = open("root");
  OwnLayer layer(at_layer.get(), at_hiding.get(), at_root.get());
  const auto hidden = hide_private_files(at("root"), layer);
  if (!hidden) GTEST_SKIP() << to_string(hidden.error());
  const auto is_whiteout = [&](const char* path) {
    struct stat status {};
    return ::lstat(at(path).c_str(), &status) == 0 && S_ISCHR(status.st_mode) &&
           status.st_rdev == 0;
  };
  EXPECT_TRUE(is_whiteout("layer/etc/shadow"));
  EXPECT_TRUE(is_whiteout("layer/core"));
  // An empty directory, and beneath it what keeps it from being merged with the root's.
  for (const char* path : {"etc/ssl/private", "var/lib/db", "var/log", "srv"}) {
    EXPECT_TRUE(std::filesystem::is_empty(at(std::string("layer/") + path))) << path;
    EXPECT_TRUE(is_whiteout((std::string("hiding/") + path).c_str())) << path;
  }
  for (const char* path :
       {"layer/etc/hosts", "layer/usr", "layer/bin", "layer/srv/x", "layer/etc/ssl/private/key"}) {
    EXPECT_FALSE(std::filesystem::exists(at(path))) << path;
  }
  for (const char* path : {"hiding/etc", "hiding/var", "hiding/var/lib"}) {
    EXPECT_TRUE(std::filesystem::is_directory(at(path))) << path;
  }
  std::filesystem::rename(at("root/var"), at("root/usr/var"));
  std::filesystem::create_symlink("usr/var", at("root/var"));
  EXPECT_FALSE(hide_private_files(at("root"), layer));
}

TEST(ARootsName, IsAnAgentsButNotHost) {
  for (const char* name : {"a", "debian-12", "A.b_c", "9"}) EXPECT_EQ(root_name_fault(name), "");
  for (const char* name : {"", "host", ".a", "-a", "a/b", "a b", "\xc3\xa4"}) {
    EXPECT_NE(root_name_fault(name), "") << name;
  }
  EXPECT_EQ(root_name_fault(std::string(63, 'a')), "");
  EXPECT_NE(root_name_fault(std::string(64, 'a')), "");
}

TEST_F(Roots, AreKeptWholeOrNotAtAll) {
  {
    auto dropped = store().stage("dropped");
    ASSERT_TRUE(dropped);
    std::ofstream(dropped->path() + "/file") << "x";
  }
  EXPECT_TRUE(std::filesystem::is_empty(store().directory()));
  auto kept = store().stage("kept");
  ASSERT_TRUE(kept);
  EXPECT_TRUE(store().list()->empty());
  ASSERT_TRUE(kept->commit("kept"));
  EXPECT_EQ(*store().list(), std::vector<std::string>{"kept"});
  const auto twice = store().stage("kept");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().hint, "sluice root delete kept");
}

TEST_F(Roots, AreNotDeletedWhileTheyAreHeld) {
  make("data/sluice/roots/mine/usr/bin");
  ::chmod(at("data/sluice/roots").c_str(), 0700);
  {
    const auto held = store().hold("mine");
    ASSERT_TRUE(held);
    const auto removed = store().remove("mine");
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().what, "the root 'mine' is in use");
  }
  ::chmod(at("data/sluice/roots/mine/usr").c_str(), 0);
  EXPECT_TRUE(store().remove("mine"));
  EXPECT_TRUE(store().list()->empty());
}

TEST_F(Roots, AreNotTakenFromAPlaceThatOthersMayWrite) {
  make("data/sluice/roots/mine");
  ::chmod(at("data/sluice/roots").c_str(), 0770);
  EXPECT_THAT(choose({.root = "mine"}), HasSubstr("can be written by somebody else"));
  std::filesystem::rename(at("data/sluice/roots"), at("elsewhere"));
  std::filesystem::create_symlink(at("elsewhere"), at("data/sluice/roots"));
  EXPECT_THAT(choose({.root = "mine"}), HasSubstr("cannot open"));
}

TEST_F(Roots, ChangesAreCopiedWithoutSetIdBitsLinksOrReplacedDirectories) {
  make("upper/opaque");
  make("kept");
  std::ofstream(at("upper/tool")) << "code";
  ::chmod(at("upper/tool").c_str(), 06755);
  std::filesystem::create_symlink(at("elsewhere"), at("upper/link"));
  if (::setxattr(at("upper/opaque").c_str(), "user.overlay.opaque", "y", 1, 0) != 0) {
    GTEST_SKIP() << "no user xattrs on the file system of temporary files";
  }
  const auto kept = keep_changes(open("upper").get(), open("kept").get());
  ASSERT_TRUE(kept) << to_string(kept.error());
  EXPECT_EQ(kept->files, 1U);
  EXPECT_EQ(kept->bytes, 4U);
  EXPECT_EQ(std::filesystem::status(at("kept/files/tool")).permissions(),
            std::filesystem::perms(0755));
  EXPECT_TRUE(std::filesystem::is_symlink(at("kept/files/link")));
  std::ifstream list(at("kept/changes.txt"));
  const std::string text(std::istreambuf_iterator<char>(list), {});
  EXPECT_THAT(text, HasSubstr("replaced           /opaque\n"));
  EXPECT_THAT(text, HasSubstr("4 bytes            /tool\n"));
}

}  // namespace
TEST(SubordinateIds, AreTheFirstWholeRangeOfTheUser) {
  const auto find = [](std::string_view file) { return find_range(file, "ann", 1000, 1000); };
  EXPECT_EQ(find("ann:100000:65536\n"), 100000U);
  EXPECT_EQ(find("1000:100000:65535"), 100000U);
  EXPECT_EQ(find("bob:1:65536\nann:100000:1000\nann:200000:65536\nann:300000:65536\n"), 200000U);
  for (const char* file : {"", "ann", "ann:100000", "ann:100000:65534\n", "annabel:100000:65536\n",
                           "ann:x:65536\n", "ann:100000:65536 \n", "ann:-5:65536\n",
                           "ann:100000:99999999999\n", "#ann:100000:65536\n"}) {
    EXPECT_EQ(find(file), std::nullopt) << file;
  }
}

TEST(SubordinateIds, AreNeitherRootNorTheUserNorPastTheLastId) {
  for (const char* file : {"ann:0:65536\n", "ann:1000:65536\n", "ann:500:65536\n",
                           "ann:4294901761:65535\n", "ann:4294967295:65536\n"}) {
    EXPECT_EQ(find_range(file, "ann", 1000, 1000), std::nullopt) << file;
  }
  EXPECT_EQ(find_range("ann:4294901760:65535\n", "ann", 1000, 1000), 4294901760U);
  EXPECT_EQ(find_range("ann:1001:65536\n", "ann", 1000, 1000), 1001U);
}

}  // namespace sluice::launcher
