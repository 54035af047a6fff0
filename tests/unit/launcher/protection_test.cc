#include "launcher/protection/protection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "launcher/protection/git_index.h"
#include "launcher/protection/git_pointers.h"
#include "launcher/protection/journal.h"

namespace sluice::launcher {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> spell(const std::vector<Shield>& shields) {
  std::vector<std::string> spelled;
  for (const Shield& shield : shields) {
    spelled.push_back((shield.access == Access::read_only ? "- " : "+ ") + shield.path);
  }
  return spelled;
}

ProtectedPath there(std::int64_t changed = 1) {
  return {"a reason", StandIn::none, Identity{1, 2, changed}, false};
}

TEST(Shields, CoverEachProtectedPathAndEachDirectoryAboveItParentsFirst) {
  Sight sight;
  sight.paths["/w/a/.git/hooks"] = there();
  sight.paths["/w/a/.git-old"] = there();
  sight.paths["/w/.envrc"] = {"a reason", StandIn::directory, std::nullopt, false};
  sight.paths["/w/.vimrc"] = {"a reason", StandIn::none, std::nullopt, false};
  sight.paths["/w/index"] = {"a reason", StandIn::none, Identity{1, 3, 4}, true};
  EXPECT_THAT(spell(shields_of(sight, "/w")),
              ElementsAre("- .envrc", "+ a", "+ a/.git", "- a/.git/hooks", "- a/.git-old"));
}

TEST(Shields, OfADirectoryThatIsProtectedAndLiesAboveAProtectedOneAreReadOnly) {
  Sight sight;
  sight.paths["/w/.husky"] = there();
  sight.paths["/w/.husky/_"] = there();
  EXPECT_THAT(spell(shields_of(sight, "/w")), ElementsAre("- .husky", "- .husky/_"));
}

TEST(Changes, AreToldOfWhatAppearedOrBecameAnotherAndOfNothingElse) {
  Sight before;
  before.paths["/w/.git/config"] = there(1);
  before.paths["/w/.git/hooks"] = there(1);
  before.paths["/w/.vimrc"] = {"a reason", StandIn::none, std::nullopt, false};
  before.paths["/w/gone"] = there();
  Sight now = before;
  EXPECT_THAT(tell_changes(before, now), IsEmpty());
  now.paths["/w/.git/config"] = there(2);
  now.paths["/w/.vimrc"] = there();
  now.paths["/w/gone"].found.reset();
  now.paths["/w/\x1b[2J"] = there();
  EXPECT_THAT(tell_changes(before, now),
              ElementsAre("'/w/\\x1b[2J': a reason", "'/w/.git/config': a reason",
                          "'/w/.vimrc': a reason"));
}

TEST(Changes, NameANewRepositoryOnceAndCountWhatIsMoreThanAPersonReads) {
  Sight before;
  Sight now;
  now.repositories = {"/w/.git"};
  now.paths["/w/.git/config"] = there();
  EXPECT_THAT(tell_changes(before, now),
              ElementsAre("'/w/.git': a repository, whose hooks and config git obeys"));
  for (int i = 0; i < 30; ++i) now.paths["/w/" + std::to_string(i)] = there();
  const auto told = tell_changes(before, now);
  EXPECT_EQ(told.size(), 11U);
  EXPECT_EQ(told.back(), "and 21 more");
}

TEST(ProtectedNames, HaveAReasonEachAndNoSecondEntry) {
  for (const auto names : {names_of_repository(), names_of_linked_worktree(), names_of_project(),
                           names_only_watched()}) {
    std::set<std::string_view> known;
    for (const ProtectedName& name : names) {
      EXPECT_FALSE(name.name.empty());
      EXPECT_GT(name.reason.size(), 10U) << name.name;
      EXPECT_TRUE(known.insert(name.name).second) << name.name;
    }
  }
}

std::vector<std::string> spell(const std::vector<GitPointer>& pointers) {
  std::vector<std::string> spelled;
  for (const GitPointer& pointer : pointers) {
    const char* const as[] = {"hooks ", "include ", "program "};
    spelled.push_back(as[static_cast<int>(pointer.as)] + pointer.path);
  }
  return spelled;
}

TEST(GitConfiguration, NamesHooksIncludesAndWhatGitRunsByItself) {
  constexpr std::string_view text = R"([core]
	hooksPath = tools/hooks
	fsmonitor = .git/watch
[include]
	path = ../common
[IncludeIf "gitdir:/x"]
	path = ~/mine
[filter "f"]
	clean = sh "scripts/clean it" %f
[alias]
	t = !./aliased
[remote "origin"]
	url = ./there
)";
  EXPECT_THAT(spell(pointers_of_config(text, {"/w/.git/config", "/w", "/home/ana"})),
              ElementsAre("hooks /w/tools/hooks", "program /w/.git/watch",
                          "include /w/.git/../common", "include /home/ana/mine", "program /w/sh",
                          "program /w/scripts/clean", "program /w/it", "program /w/%f"));
  EXPECT_THAT(pointers_of_config("[core", {"/w/.git/config", "/w", ""}), IsEmpty());
}

TEST(GitFiles, PointSomewhereSeenFromTheirFolder) {
  EXPECT_EQ(pointed_to("gitdir: ../x y\n", "gitdir:", "/w/a"), "/w/a/../x y");
  EXPECT_EQ(pointed_to("gitdir: /x\r\n", "gitdir:", "/w"), "/x");
  EXPECT_EQ(pointed_to("../..\n", "", "/w/.git/worktrees/t"), "/w/.git/worktrees/t/../..");
  EXPECT_EQ(pointed_to("gitdir:\n", "gitdir:", "/w"), "");
  EXPECT_EQ(pointed_to("../..", "gitdir:", "/w"), "");
}

TEST(Journals, AreReadBackWithTheLastWordOnEachPath) {
  Placeholder first{Placeholder::State::intended, StandIn::directory, 0, 0, "/w/a b\n.git"};
  std::string text = encode_source({7, 8}) + encode(first);
  first.state = Placeholder::State::made;
  first.device = 5;
  first.inode = 6;
  text += encode(first) + encode({Placeholder::State::not_ours, StandIn::own_place, 0, 0, "/w/c"});
  const auto journal = decode_journal(text + "placeholder 1 1 1");  // cut off
  ASSERT_TRUE(journal);
  EXPECT_THAT(journal->sources, ElementsAre(FileId(7, 8)));
  ASSERT_EQ(journal->placeholders.size(), 2U);
  const Placeholder& read = journal->placeholders.at("/w/a b\n.git");
  EXPECT_EQ(read.state, Placeholder::State::made);
  EXPECT_EQ(read.inode, 6U);
  EXPECT_EQ(journal->placeholders.at("/w/c").kind, StandIn::own_place);
}

TEST(Journals, ThatAreNoneAreRefused) {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {"x\0"sv, "source 1\0"sv, "source 1 x\0"sv, "placeholder 9 1 1 1 /x\0"sv,
        "placeholder 1 9 1 1 /x\0"sv, "placeholder 1 1 1 1 x\0"sv, "placeholder 1 1 1 /x\0"sv}) {
    EXPECT_FALSE(decode_journal(text)) << text;
  }
}

std::string number(std::size_t value, int size) {
  std::string bytes;
  for (int i = size - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

// gitformat-index(5): entries whose stat data is zero.
std::string index_of(const std::vector<std::string>& paths, std::uint32_t version,
                     std::size_t hash = 20) {
  std::string bytes = "DIRC" + number(version, 4) + number(paths.size(), 4);
  std::string before;
  for (const std::string& path : paths) {
    std::string entry(40 + hash, '\0');
    entry += number(path.size(), 2);
    if (version == 4) {
      std::size_t same = 0;
      while (same < before.size() && same < path.size() && before[same] == path[same]) ++same;
      entry += static_cast<char>(before.size() - same) + path.substr(same) + '\0';
    } else {
      entry += path + '\0';
      while (entry.size() % 8 != 0) entry += '\0';
    }
    bytes += entry;
    before = path;
  }
  return bytes + std::string(hash, 'x');
}

TEST(AnIndex, LeadsAstrayWhereAComponentIsNoneThatGitPutsThere) {
  for (const std::uint32_t version : {2, 3, 4}) {
    for (const std::size_t hash : {20U, 32U}) {
      const std::vector<std::string> fine{".gita", ".gitignore", "a/.github/x", "a/..b", "z.git/y"};
      EXPECT_FALSE(leads_astray(index_of(fine, version, hash))) << version << " " << hash;
      for (const char* path : {".git/hooks/x", ".gita/.git/x", "a/../../x", "../x", "/etc/x",
                               "a//b", ".GIT/config", "./x", "sub/.git"}) {
        auto paths = fine;
        paths.insert(paths.begin() + 2, path);
        EXPECT_TRUE(leads_astray(index_of(paths, version, hash))) << path << " " << version;
      }
    }
  }
}

TEST(AnIndex, ThatCannotBeReadToItsEndLeadsAstray) {
  const std::string whole = index_of({"a", "b/c"}, 2);
  EXPECT_FALSE(leads_astray(whole));
  EXPECT_TRUE(leads_astray(""));
  EXPECT_TRUE(leads_astray("DIRC"));
  EXPECT_TRUE(leads_astray(index_of({"a"}, 5)));
  EXPECT_TRUE(leads_astray(whole.substr(0, 90)));
  std::string more = whole;
  more[11] = 9;
  EXPECT_TRUE(leads_astray(more));
}

class InADirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "sluice-protection-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name).string();
  }
  void TearDown() override { fs::remove_all(root_); }

  void make(const std::string& path, const std::string& text = "") const {
    fs::create_directories(fs::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  bool has(const std::string& path) const { return fs::exists(root_ + "/" + path); }
  Placeholders begin(const std::string& source) const {
    auto placeholders = Placeholders::begin(root_ + "/state", {root_ + "/" + source});
    EXPECT_TRUE(placeholders) << to_string(placeholders.error());
    return std::move(*placeholders);
  }

  std::string root_;
};

using TheLook = InADirectory;
using StandIns = InADirectory;

TEST_F(TheLook, FindsRepositoriesWhereverTheyLie) {
  make("w/.git/HEAD");
  make("w/.git/modules/a/b/HEAD");
  make("w/a/b/.git/HEAD");
  make("w/bare/HEAD");
  make("w/bare/objects/x");
  make("w/bare/refs/x");
  make("w/linked/.git", "gitdir: ../elsewhere/x\n");
  make("w/elsewhere/x/HEAD");
  make("w/no/HEAD");
  make("outside/.git/HEAD");
  fs::create_directory_symlink(root_ + "/outside", root_ + "/w/link");
  const Sight sight = look_at({root_ + "/w", IsProject::yes, "/home/ana", {}});
  std::vector<std::string> names;
  for (const std::string& git : sight.repositories) names.push_back(git.substr(root_.size()));
  EXPECT_THAT(names, ElementsAre("/w/.git", "/w/.git/modules/a/b", "/w/a/b/.git", "/w/bare",
                                 "/w/elsewhere/x"));
  EXPECT_TRUE(sight.is_whole);
}

TEST_F(TheLook, SaysWhenItWasNotAtEverything) {
  std::string deep = "w";
  for (int i = 0; i <= deepest_directory; ++i) deep += "/d";
  make(deep + "/x");
  EXPECT_FALSE(look_at({root_ + "/w", IsProject::yes, "/home/ana", {}}).is_whole);
}

TEST_F(TheLook, ProtectsTheHooksThatTheUsersOwnConfigurationNamesInEachProject) {
  make("user", "[core]\n\thooksPath = .hooks\n");
  make("w/.git/HEAD");
  const Sight sight = look_at({root_ + "/w", IsProject::yes, "/home/ana", {root_ + "/user"}});
  ASSERT_TRUE(sight.paths.contains(root_ + "/w/.hooks"));
  EXPECT_EQ(sight.paths.at(root_ + "/w/.hooks").stand_in, StandIn::directory);
}

TEST_F(StandIns, AreRemovedWithTheRunUnlessSomebodyTouchedThem) {
  make("w/x");
  {
    auto run = begin("w");
    std::vector<Wanted> wanted;
    for (const char* name : {"a", "b", "c", "d", "x"}) {
      wanted.push_back({root_ + "/w/" + name, StandIn::directory});
    }
    wanted[2].kind = StandIn::file;
    wanted[3].kind = StandIn::own_place;
    wanted.push_back({root_ + "/w/none/e", StandIn::directory});
    ASSERT_TRUE(run.make(wanted));
    EXPECT_THAT(run.impossible(), ElementsAre(root_ + "/w/none/e"));
    EXPECT_TRUE(run.made(root_ + "/w/a"));
    EXPECT_FALSE(run.made(root_ + "/w/x"));
    EXPECT_TRUE(has("w/a") && has("w/c"));
    make("w/b/mine");
    make("w/c", "mine");
  }
  EXPECT_FALSE(has("w/a"));
  EXPECT_TRUE(has("w/b/mine"));
  EXPECT_TRUE(has("w/c"));
  EXPECT_FALSE(has("w/d"));
  EXPECT_TRUE(has("w/x"));
}

TEST_F(StandIns, OutliveTheRunThatMadeThemWhileAnotherMayHaveMountedOverThem) {
  make("w/sub/x");
  auto first = std::make_unique<Placeholders>(begin("w"));
  ASSERT_TRUE(first->make(
      {{root_ + "/w/sub/a", StandIn::directory}, {root_ + "/w/b", StandIn::directory}}));
  fs::create_directory_symlink(root_ + "/w", root_ + "/alias");
  auto second = std::make_unique<Placeholders>(begin("alias/sub"));
  first.reset();
  EXPECT_TRUE(has("w/sub/a"));
  EXPECT_FALSE(has("w/b"));
  second.reset();
  EXPECT_FALSE(has("w/sub/a"));
}

TEST_F(StandIns, LeaveNothingBehindInTheJournal) {
  make("w/x");
  { ASSERT_TRUE(begin("w").make({{root_ + "/w/a", StandIn::directory}})); }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(placeholder_directory(root_ + "/state"))) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, ElementsAre("lock"));
}

TEST_F(StandIns, OfADamagedJournalAreAnErrorAndNotForgotten) {
  make("w/x");
  { auto run = begin("w"); }
  std::ofstream(placeholder_directory(root_ + "/state") + "/1-2") << "nonsense" << '\0';
  const auto refused = Placeholders::begin(root_ + "/state", {root_ + "/w"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(to_string(refused.error()),
            "error: the journal of placeholders '1-2' is damaged\n"
            "hint: remove it, and the empty placeholders that a run left");
}

}  // namespace
}  // namespace sluice::launcher
