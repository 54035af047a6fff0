#include "launcher/protection/protection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

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

std::vector<std::string> told_of(const Sight& before, const Sight& now) {
  std::vector<std::string> lines;
  tell_changes(before, now, [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

TEST(Changes, AreToldOfWhatAppearedOrBecameAnotherAndOfNothingElse) {
  Sight before;
  before.paths["/w/.git/config"] = there(1);
  before.paths["/w/.git/hooks"] = there(1);
  before.paths["/w/.vimrc"] = {"a reason", StandIn::none, std::nullopt, false};
  before.paths["/w/gone"] = there();
  Sight now = before;
  EXPECT_THAT(told_of(before, now), IsEmpty());
  now.paths["/w/.git/config"] = there(2);
  now.paths["/w/.vimrc"] = there();
  now.paths["/w/gone"].found.reset();
  now.paths["/w/\x1b[2J"] = there();
  EXPECT_THAT(told_of(before, now),
              ElementsAre("'/w/\\x1b[2J': a reason", "'/w/.git/config': a reason",
                          "'/w/.vimrc': a reason"));
}

TEST(Changes, NameANewRepositoryOnceAndCountWhatIsMoreThanAPersonReads) {
  Sight before;
  Sight now;
  now.repositories["/w/.git"] = "a repository, whose hooks and config git obeys";
  now.paths["/w/.git/config"] = there();
  EXPECT_THAT(told_of(before, now),
              ElementsAre("'/w/.git': a repository, whose hooks and config git obeys"));
  for (int i = 0; i < 120; ++i) now.paths["/w/" + std::to_string(i)] = there();
  const auto told = told_of(before, now);
  EXPECT_EQ(told.size(), 101U);
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
    const char* const as[] = {"hooks ", "include ", "program ", "asked for ", "computed "};
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
[submodule "a"]
	update = checkout
)";
  EXPECT_THAT(spell(pointers_of_config(text, {"/w/.git/config", "/w", "/home/ana"})),
              ElementsAre("hooks /w/tools/hooks", "program /w/.git/watch",
                          "include /w/.git/../common", "include /home/ana/mine", "program /w/sh",
                          "program /w/scripts/clean", "program /w/it", "program /w/%f",
                          "asked for /w/./aliased", "asked for /w/./there"));
  EXPECT_THAT(pointers_of_config("[core", {"/w/.git/config", "/w", ""}), IsEmpty());
}

TEST(GitConfiguration, TellsOnlySoMuchOfACommandThatGrowsOrHasManyWords) {
  const auto of = [](const std::string& value, const std::string& work_tree) {
    return pointers_of_config("[filter \"f\"]\n\tclean = \"" + value + "\"\n",
                              {work_tree + "/.git/config", work_tree, "/home/ana"});
  };
  const auto many = [](const char* word, int count) {
    std::string words;
    for (int i = 0; i < count; ++i) words += word;
    return words;
  };
  const std::string deep = "/" + std::string(1000, 'w');
  EXPECT_THAT(spell(of(many("$PWD ", 200), deep)), ElementsAre("computed filter.f.clean"));
  EXPECT_EQ(of("$PWD/x", "/w/$GIT_DIR").front().as, Obeyed::computed);
  const auto words = of(many("a ", 5000), deep);
  EXPECT_EQ(words.size(), most_pointers + 1);
  EXPECT_EQ(words.back().as, Obeyed::more);
}

TEST(GitConfiguration, ComputesAPathThatIsSpelledOutWhereItCanBe) {
  const auto of = [](const std::string& value) {
    return spell(pointers_of_config("[filter \"f\"]\n\tclean = \"" + value + "\"\n",
                                    {"/w/.git/config", "/w", "/home/ana"}));
  };
  EXPECT_THAT(of("$(git rev-parse --show-toplevel)/x"), ElementsAre("program /w/x"));
  EXPECT_THAT(of("`git rev-parse --git-dir`/x $1 \\\"$@\\\""),
              ElementsAre("program /w/.git/x", "program /w/1", "program /w/@"));
  EXPECT_THAT(of("'$PWD/a b'/c"), ElementsAre("program /w/a b", "program /w/a", "program /w/b/c"));
  EXPECT_THAT(of("${HOME}/x"), ElementsAre("program /home/ana/x"));
  for (const char* value : {"$(cat x)", "`x`", "${x}", "$PWDS", "$x/y"}) {
    EXPECT_THAT(of(value), ::testing::Contains("computed filter.f.clean")) << value;
  }
}

TEST(GitConfiguration, SaysWhereTheWorkTreeIsAndHowObjectsAreNamed) {
  const auto facts = facts_of_config(
      "[core]\n\tworktree = ../../../lib\n"
      "[extensions]\n\tobjectFormat = sha256\n",
      {"/w/.git/modules/lib/config", "", ""});
  EXPECT_EQ(facts.work_tree, "/w/.git/modules/lib/../../../lib");
  EXPECT_EQ(facts.format, ObjectFormat::sha256);
  EXPECT_EQ(facts_of_config("", {"/w/.git/config", "", ""}).format, ObjectFormat::sha1);
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
  const Sight sight = look_at({root_ + "/w", IsProject::yes, "/home/ana", {}, {}});
  std::vector<std::string> names;
  for (const auto& [git, reason] : sight.repositories) names.push_back(git.substr(root_.size()));
  EXPECT_THAT(names, ElementsAre("/w/.git", "/w/.git/modules/a/b", "/w/a/b/.git", "/w/bare",
                                 "/w/elsewhere/x"));
  EXPECT_TRUE(sight.is_whole()) << sight.unseen;
}

TEST_F(TheLook, FindsRepositoriesAnywhereInAGitDirectory) {
  make("w/.git/HEAD");
  make("w/.git/info/a/.git/HEAD");
  for (const char* name : {"HEAD", "objects/x", "refs/x"}) {
    make(std::string("w/.git/objects/ab/c/") + name);
    make(std::string("w/.git/info/linked/") + name);
    make(std::string("w/.git/modules/") + std::string(40, 'a') + "/b/c/d/e/f/g/h/i/j/k/l/m/" +
         name);
  }
  fs::create_directory_symlink("../info", root_ + "/w/.git/modules/x");
  fs::create_directory_symlink(".git/info/a", root_ + "/w/docs");
  fs::create_directory_symlink("..", root_ + "/w/.git/modules/loop");
  const Sight sight = look_at({root_ + "/w", IsProject::yes, "/home/ana", {}, {}});
  std::vector<std::string> names;
  for (const auto& [git, reason] : sight.repositories) names.push_back(git.substr(root_.size()));
  EXPECT_THAT(names,
              ElementsAre("/w/.git", "/w/.git/info/a/.git", "/w/.git/info/linked",
                          "/w/.git/modules/" + std::string(40, 'a') + "/b/c/d/e/f/g/h/i/j/k/l/m",
                          "/w/.git/objects/ab/c"));
  EXPECT_TRUE(sight.paths.contains(root_ + "/w/.git/modules/x"));
  EXPECT_TRUE(sight.paths.contains(root_ + "/w/docs"));
  EXPECT_TRUE(sight.is_whole()) << sight.unseen;
}

TEST_F(TheLook, SaysWhenItWasNotAtEverything) {
  for (std::size_t i = 0; i < most_directories; ++i) {
    fs::create_directories(root_ + "/w/" + std::to_string(i));
  }
  EXPECT_EQ(look_at({root_ + "/w", IsProject::yes, "/home/ana", {}, {}}).unseen,
            "it has more than 20000 directories");
}

TEST_F(TheLook, SeesWhatThePolicyProtectsAndWhatMustStandInAboveIt) {
  make("w/a/x");
  const LookOrder order{root_ + "/w", IsProject::no, "/home/ana", {}, {root_ + "/w/a/b/c/d"}};
  const Sight sight = look_at(order);
  ASSERT_TRUE(sight.paths.contains(root_ + "/w/a/b/c/d"));
  EXPECT_EQ(sight.paths.at(root_ + "/w/a/b/c/d").stand_in, StandIn::directory);
  EXPECT_THAT(sight.ways, ElementsAre(root_ + "/w/a/b", root_ + "/w/a/b/c"));
  EXPECT_THAT(spell(shields_of(sight, root_ + "/w")),
              ElementsAre("+ a", "+ a/b", "+ a/b/c", "- a/b/c/d"));
}

TEST_F(TheLook, ProtectsTheHooksThatTheUsersOwnConfigurationNamesInEachProject) {
  make("user", "[core]\n\thooksPath = .hooks\n");
  make("w/.git/HEAD");
  const Sight sight = look_at({root_ + "/w", IsProject::yes, "/home/ana", {root_ + "/user"}, {}});
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

TEST_F(StandIns, OfARunThatBeganMeanwhileAreNoChangesOfThisOne) {
  make("w/x");
  Machine machine;
  machine.home = root_ + "/home";
  machine.environment = {"XDG_STATE_HOME=" + root_ + "/state"};
  std::vector<std::string> lines;
  const Say say = [&](std::string_view line) { lines.emplace_back(line); };
  std::vector<Plan> plans(2);
  std::vector<Protection> runs;
  for (Plan& plan : plans) {
    plan.workspace = root_ + "/w";
    Mount bind;
    bind.kind = Mount::Kind::bind;
    bind.path = bind.source = plan.workspace;
    bind.access = Access::read_write;
    plan.mounts = {bind};
    auto found = Protection::find(plan, machine, {}, IsForShow::no);
    ASSERT_TRUE(found) << to_string(found.error());
    runs.push_back(std::move(*found));
  }
  for (std::size_t i = 0; i < runs.size(); ++i) ASSERT_TRUE(runs[i].stand_in(plans[i]));
  ASSERT_TRUE(has("w/.envrc"));
  for (const Protection& run : runs) run.tell_changes(say);
  EXPECT_THAT(lines, IsEmpty());
  make("w/.vimrc", "one made by an agent");
  for (const Protection& run : runs) run.tell_changes(say);
  EXPECT_EQ(lines.size(), 2U);
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
