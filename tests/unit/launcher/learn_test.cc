#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/fd.h"
#include "launcher/plan/plan.h"
#include "launcher/roots/advice.h"
#include "launcher/roots/lesson.h"
#include "launcher/roots/remove_tree.h"
#include "launcher/roots/written.h"
#include "launcher/sandbox/private_files.h"
#include "sample.h"

namespace sluice::launcher {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = Allowance::Kind;

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;

Root another_root() {
  Root root;
  root.source = "/srv/debian";
  return root;
}

Written written(const std::string& directory, std::uint64_t files = 1, std::uint64_t bytes = 10) {
  Written one;
  one.directory = directory;
  one.files = files;
  one.entries = files;
  one.bytes = bytes;
  return one;
}

// What is in no directory of `root` is empty.
Advice advise_on(std::vector<Written> places, const std::map<std::string, Existing>& root = {},
                 const Root& which = another_root()) {
  WrittenTree tree;
  tree.places = std::move(places);
  return advise(std::move(tree), which, [&](const std::string& directory) {
    const auto found = root.find(directory);
    return found == root.end() ? Existing{} : found->second;
  });
}

std::vector<std::string> allowed(const Advice& advice) {
  std::vector<std::string> words;
  for (const Allowance& one : advice.allow) {
    words.push_back((one.kind == Kind::seed ? "seed " : "tmpfs ") + one.path + " " +
                    std::to_string(one.bytes / mebibyte));
  }
  return words;
}

TEST(Advice, IsACopyWhereTheRootHasSomethingAndNothingElsewhere) {
  EXPECT_THAT(allowed(advise_on({written("/etc"), written("/opt")}, {{"/etc", {3, 4096, false}}})),
              ElementsAre("seed /etc 16", "tmpfs /opt 16"));
}

TEST(Advice, GivesTwiceWhatIsKnownToBeNeededInAPowerOfTwo) {
  EXPECT_THAT(allowed(advise_on({written("/opt", 1, 20 * mebibyte)})),
              ElementsAre("tmpfs /opt 64"));
  EXPECT_THAT(
      allowed(advise_on({written("/etc", 1, mebibyte)}, {{"/etc", {10, 30 * mebibyte, false}}})),
      ElementsAre("seed /etc 64"));
  // An inode each 4 KiB: many small files need room for their number.
  EXPECT_THAT(allowed(advise_on({written("/opt", 10'000, 0)})), ElementsAre("tmpfs /opt 128"));
}

TEST(Advice, TakesNeighboursTogetherWhileThereAreManyAndTheirParentIsSmall) {
  std::vector<Written> places;
  for (char name = 'a'; name < 'i'; ++name)
    places.push_back(written("/srv/data/" + std::string(1, name)));
  const Existing small{8, 8192, false};
  Advice advice = advise_on(places, {{"/srv/data", small}});
  EXPECT_THAT(allowed(advice), ElementsAre("seed /srv/data 16"));
  ASSERT_EQ(advice.written.size(), 1U);
  EXPECT_EQ(advice.written[0].files, 8U);
  const Existing large{8, 8192, true};
  EXPECT_EQ(advise_on(places, {{"/srv", large}, {"/srv/data", large}}).allow.size(), 8U);
  places.resize(5);
  EXPECT_EQ(advise_on(places, {{"/srv/data", small}}).allow.size(), 5U);
}

TEST(Advice, HidesWhatIsTooMuchToCopyOnlyWhereNothingOfItWasChanged) {
  const std::map<std::string, Existing> large{{"/opt", {9, 9, true}}};
  Advice advice = advise_on({written("/opt")}, large);
  EXPECT_THAT(allowed(advice), ElementsAre("tmpfs /opt 16"));
  EXPECT_TRUE(advice.allow[0].hides);
  Written changed = written("/opt");
  changed.is_all_new = false;
  advice = advise_on({changed}, large);
  EXPECT_TRUE(advice.allow.empty());
  ASSERT_EQ(advice.cannot.size(), 1U);
  EXPECT_EQ(advice.cannot[0].why, "what the root has there is too much to copy");
}

TEST(Advice, MountsOnADirectoryThatTheRootLacksOnlyWhereOneCanBeMade) {
  Written made = written("/data");
  made.is_missing = true;
  EXPECT_THAT(allowed(advise_on({made})), ElementsAre("tmpfs /data 16"));
  const Advice advice = advise_on({made}, {}, Root{});
  EXPECT_TRUE(advice.allow.empty());
  EXPECT_EQ(advice.cannot[0].why, "the machine has no such directory to mount on");
}

TEST(Advice, MakesNoOptionOfANameThatAnOptionWouldReadAsAnother) {
  for (const char* name : {"/a:b", "/a\x1b[2J", "/a\nb", "/\xff", "/a\\b", "/\u202e"}) {
    Written made = written(name);
    made.is_missing = true;
    const Advice advice = advise_on({made});
    EXPECT_TRUE(advice.allow.empty()) << name;
    EXPECT_EQ(advice.cannot.size(), 1U);
  }
}

TEST(Advice, IsOfAHundredPlacesTheLargestFirstAndCountsTheOthers) {
  std::vector<Written> places;
  for (std::uint64_t number = 0; number < 250; ++number) {
    places.push_back(written("/made-" + std::to_string(number), 1, number));
    places.back().is_missing = true;
  }
  places[7].deletions = 3;
  const Advice advice = advise_on(places);
  ASSERT_EQ(advice.written.size(), most_places_told);
  EXPECT_EQ(advice.written.front().directory, "/made-249");
  EXPECT_EQ(advice.written.back().directory, "/made-150");
  EXPECT_EQ(advice.allow.size(), most_places_told);
  EXPECT_EQ(advice.untold.places, 150U);
  EXPECT_EQ(advice.untold.files, 150U);
  EXPECT_EQ(advice.untold.bytes, 149U * 150 / 2);
  EXPECT_EQ(advice.untold.deletions, 3U);
}

TEST(Advice, TakesNeighboursTogetherBeforeItLeavesAnyOut) {
  std::vector<Written> places;
  for (int number = 0; number < 150; ++number)
    places.push_back(written("/srv/data/" + std::to_string(number)));
  std::sort(places.begin(), places.end(),
            [](const Written& a, const Written& b) { return a.directory < b.directory; });
  const Advice advice = advise_on(places, {{"/srv/data", {150, 8192, false}}});
  ASSERT_EQ(advice.written.size(), 1U);
  EXPECT_EQ(advice.written[0].files, 150U);
  EXPECT_EQ(advice.untold.places, 0U);
}

TEST(OwnFiles, OfAReadOnlyRootAreThoseOfAPlan) {
  const auto plan = make_plan(sample_request(), sample_machine());
  ASSERT_TRUE(plan);
  std::vector<std::string> paths;
  for (const OwnFile& file : plan->files) paths.push_back(file.path);
  EXPECT_THAT(own_files_of_a_read_only_root(), ::testing::UnorderedElementsAreArray(paths));
}

TEST(AlwaysHidden, IsWhatHoldsNoPrograms) {
  for (const char* path : {"/srv", "/srv/a", "/mnt", "/var/log", "/var/spool/x"})
    EXPECT_TRUE(is_always_hidden(path)) << path;
  for (const char* path : {"/", "/etc", "/opt/x", "/var", "/var/lib/x"})
    EXPECT_FALSE(is_always_hidden(path)) << path;
}

TEST(Lesson, IsForAShellAndForAPolicyAndPrintable) {
  Lesson lesson{.command = {"./x\x1b", "-y"}, .status = 3};
  lesson.advice.written = {written("/a\x1b"), written("/opt"), written("/etc", 2, 1)};
  lesson.advice.written[1].deletions = 1;
  lesson.advice.allow = {{Kind::tmpfs, "/a 'b", 16 * mebibyte, false},
                         {Kind::tmpfs, "/opt", std::uint64_t{2} << 30, true},
                         {Kind::seed, "/etc", 16 * mebibyte, false}};
  lesson.advice.cannot = {{"/", "files of '/' itself stay as they are"}};
  EXPECT_THAT(
      in_lines(lesson),
      ElementsAre(
          R"('./x\x1b' and what it started wrote outside of the workspace:)",
          R"(  /a\x1b: 1 file, 10 bytes)", "  /opt: 1 file, 10 bytes, 1 deletion",
          "  /etc: 2 files, 1 byte", "under a read-only root these options allow it:",
          R"(  --tmpfs '/a '\''b:16MiB' --tmpfs /opt:2GiB --seed /etc:16MiB)",
          "or, for the agent in the policy:", "    sandbox:", "      tmpfs:",
          R"(        "/a 'b": 16MiB)", "        /opt: 2GiB", "      seed:", "        - /etc:16MiB",
          "  /opt is empty then: what the root has there is too much to copy; --root-mode overlay "
          "shows it",
          "no option allows '/': files of '/' itself stay as they are; --root-mode overlay does",
          "it ended with status 3: it may write more when it goes on"));
  const std::string json = to_json(lesson);
  EXPECT_THAT(json, HasSubstr(R"("options":["--tmpfs","/a 'b:16MiB","--tmpfs","/opt:2GiB",)"));
  EXPECT_THAT(json, HasSubstr(R"("command":["./x\u001b","-y"],"status":3,)"));
  EXPECT_THAT(json, Not(HasSubstr("\n")));
}

TEST(Lesson, SaysWhatItLeftOutAndWhatWasNotLookedAt) {
  Lesson lesson{.command = {"x"}, .status = 0};
  lesson.advice.written = {written("/opt")};
  lesson.advice.untold = {.places = 2, .files = 1, .bytes = 7, .deletions = 0};
  lesson.advice.unseen = "it is more than 9 files and directories";
  EXPECT_THAT(in_lines(lesson),
              ElementsAre("'x' and what it started wrote outside of the workspace:",
                          "  /opt: 1 file, 10 bytes",
                          "  and 2 smaller directories: 1 file, 7 bytes, 0 deletions; no option "
                          "below is for them",
                          "not everything was looked at, so that it needs more than is named here: "
                          "it is more than 9 files and directories"));
  EXPECT_THAT(to_json(lesson),
              HasSubstr(R"("left_out":2,"unseen":"it is more than 9 files and directories",)"));
  lesson.advice = {};
  EXPECT_THAT(to_json(lesson), HasSubstr(R"("left_out":0,"unseen":"",)"));
  EXPECT_EQ(in_lines(lesson).size(), 1U);
}

class Upper : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "sluice-learn-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    base_ = std::filesystem::canonical(name).string();
    root_.source = at("root");
    make("root/etc/tool");
    make("root/opt");
    make("root/usr/lib/x");
    make("upper");
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(base_)); }
  std::string at(const std::string& path) const { return base_ + "/" + path; }
  void make(const std::string& path) const { std::filesystem::create_directories(at(path)); }
  void put(const std::string& path, const std::string& text) const {
    make(std::filesystem::path(path).parent_path().string());
    std::ofstream(at(path)) << text;
  }
  WrittenTree look(std::size_t most = most_changes) const {
    const Fd upper(::open(at("upper").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto tree = look_at_written(upper.get(), root_, own_files_of_a_read_only_root(), most);
    EXPECT_TRUE(tree) << to_string(tree.error());
    return tree ? *tree : WrittenTree{};
  }
  std::vector<std::string> directories() const {
    std::vector<std::string> names;
    for (const Written& one : look().places) names.push_back(one.directory);
    return names;
  }

  std::string base_;
  Root root_;
};

TEST_F(Upper, IsToldByTheDirectoriesThatTheRootHas) {
  put("root/etc/kept", "old");
  put("upper/etc/kept", "changed");
  put("upper/opt/a/b/c", "0123456789");
  put("upper/usr/lib/x/y", "");
  put("upper/data/z", "1");
  const WrittenTree tree = look();
  ASSERT_EQ(tree.places.size(), 4U);
  EXPECT_EQ(tree.places[0].directory, "/data");
  EXPECT_TRUE(tree.places[0].is_missing);
  EXPECT_EQ(tree.places[1].directory, "/etc");
  EXPECT_FALSE(tree.places[1].is_all_new);
  EXPECT_EQ(tree.places[2].directory, "/opt");
  EXPECT_TRUE(tree.places[2].is_all_new);
  EXPECT_EQ(tree.places[2].files, 1U);
  EXPECT_EQ(tree.places[2].entries, 3U);
  EXPECT_EQ(tree.places[2].bytes, 10U);
  EXPECT_EQ(tree.places[3].directory, "/usr/lib/x");
  EXPECT_FALSE(tree.has_other_owners);
}

TEST_F(Upper, OfADirectoryAndOneInItIsToldAsOne) {
  put("upper/etc/new", "1");
  put("upper/etc/tool/new", "1");
  EXPECT_THAT(directories(), ElementsAre("/etc"));
  EXPECT_EQ(look().places[0].files, 2U);
}

TEST_F(Upper, NamesTheTopOnlyForWhatIsNoDirectory) {
  make("upper/made");
  EXPECT_THAT(directories(), ElementsAre("/made"));
  put("upper/file", "1");
  EXPECT_THAT(directories(), ElementsAre("/", "/made"));
}

TEST_F(Upper, TellsOfADirectoryInWhichSomethingWasForATime) {
  make("upper/usr/lib/x");
  EXPECT_THAT(directories(), ElementsAre("/usr/lib/x"));
  EXPECT_EQ(look().places[0].entries, 0U);
}

TEST_F(Upper, CountsWhatWasDeletedOrReplaced) {
  put("root/etc/gone", "");
  make("upper/etc");
  if (::mknod(at("upper/etc/gone").c_str(), S_IFCHR, makedev(0, 0)) != 0) {
    GTEST_SKIP() << "no whiteouts on the file system of temporary files";
  }
  EXPECT_EQ(look().places.at(0).deletions, 1U);
  EXPECT_FALSE(look().places.at(0).is_all_new);
  make("upper/etc/tool");
  if (::setxattr(at("upper/etc/tool").c_str(), "user.overlay.opaque", "y", 1, 0) != 0) {
    GTEST_SKIP() << "no user xattrs on the file system of temporary files";
  }
  EXPECT_EQ(look().places.at(0).deletions, 2U);
  EXPECT_THAT(directories(), ElementsAre("/etc"));
}

TEST_F(Upper, CountsAFileOfManyNamesAndAHoleOnce) {
  put("upper/opt/a", "12345");
  std::filesystem::create_hard_link(at("upper/opt/a"), at("upper/opt/b"));
  put("upper/opt/sparse", "");
  std::filesystem::resize_file(at("upper/opt/sparse"), std::uintmax_t{1} << 40);
  const Written opt = look().places.at(0);
  EXPECT_EQ(opt.files, 2U);
  EXPECT_EQ(opt.bytes, 5U);
}

TEST_F(Upper, WithThousandsOfNewDirectoriesBesideTheRootsOwnKeepsTheLargest) {
  for (int number = 0; number < 1000; ++number) make("upper/made-" + std::to_string(number));
  put("upper/made-500/file", "12345");
  put("upper/opt/file", "1");
  const WrittenTree tree = look();
  EXPECT_EQ(tree.places.size(), most_places_told + 1);
  EXPECT_EQ(tree.untold.places, 1000 - most_places_told);
  EXPECT_EQ(tree.unseen, "");
  EXPECT_THAT(directories(), Contains("/made-500"));
  EXPECT_THAT(directories(), Contains("/opt"));
}

TEST_F(Upper, IsLookedAtUpToABoundAndSaysSo) {
  for (int number = 0; number < 20; ++number) put("upper/opt/" + std::to_string(number), "1");
  EXPECT_EQ(look(21).unseen, "");
  EXPECT_EQ(look(21).places.at(0).files, 20U);
  const WrittenTree tree = look(11);
  EXPECT_EQ(tree.unseen, "it is more than 11 files and directories");
  EXPECT_EQ(tree.places.at(0).files, 10U);
}

TEST_F(Upper, IsLookedAtUpToADepthAndSaysSo) {
  std::string path = "upper/opt";
  for (int depth = 0; depth < 250; ++depth) path += "/d";
  make(path);
  put("upper/opt/file", "1");
  const WrittenTree tree = look();
  EXPECT_EQ(tree.unseen, "it is more than 200 directories deep");
  EXPECT_EQ(tree.places.at(0).files, 1U);
}

TEST_F(Upper, MayHaveNamesOfEveryKind) {
  const std::vector<std::string> names{"a\nb", "\x1b[2J", "\xff\xfe", "\u202e", "-rf", " ", "..."};
  for (const std::string& name : names) put("upper/" + name + "/" + name, "1");
  put("upper/" + std::string(255, 'x') + "/file", "1");
  EXPECT_EQ(look().places.size(), names.size() + 1);
  EXPECT_EQ(look().unseen, "");
}

TEST_F(Upper, FollowsNoLinkAndKnowsTheFilesOfItsOwn) {
  std::filesystem::create_symlink("/", at("upper/opt-link"));
  make("upper/opt");
  std::filesystem::create_symlink("/", at("upper/opt/link"));
  put("upper/etc/hosts", "1");
  EXPECT_THAT(directories(), ElementsAre("/", "/etc", "/opt"));
  EXPECT_THAT(look().files, ElementsAre("/etc/hosts"));
}

}  // namespace
}  // namespace sluice::launcher
