#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(GitRemotes, OfTheRepositoryAndItsSubmodules) {
  Sandbox sandbox;
  sandbox.write(
      "project/.git/config",
      "[remote \"origin\"]\n\turl = git@one.test:team/x.git\n\tpushurl = https://two.test/x\n"
      "[submodule \"s\"]\n\turl = ssh://git@three.test:2222/s\n[remote \"local\"]\nurl = ../y\n");
  sandbox.write("project/.gitmodules",
                "[submodule \"s\"]\n\tpath = libs/s\n\turl = git://four.test/s\n");
  sandbox.write("project/.git/modules/libs/s/config",
                "[remote \"origin\"]\nurl = http://five.test/s\n");
  sandbox.write("project/libs/s/.npmrc", "registry = https://six.test\n");
  EXPECT_THAT(sandbox.found(),
              UnorderedElementsAre("one.test:22 off git remote .git/config:2 project",
                                   "two.test:443 git remote .git/config:3 project",
                                   "three.test:2222 off git submodule .git/config:5 project",
                                   "four.test:9418 off git submodule .gitmodules:3 project",
                                   "five.test:80 git remote .git/modules/libs/s/config:2 project",
                                   "six.test:443 npm registry libs/s/.npmrc:1 project"));
  EXPECT_THAT(sandbox.warnings(), IsEmpty());
}

TEST(GitRemotes, TheLongestInsteadOfRewritesFetchingAndPushing) {
  Sandbox sandbox;
  sandbox.write("home/.gitconfig",
                "[url \"https://mirror.example.com/\"]\n\tinsteadOf = https://forge.test/\n"
                "[url \"https://other.example.com/\"]\n\tinsteadOf = https://forge.test/other/\n"
                "[url \"ssh://git@push.example.com/\"]\n\tpushInsteadOf = https://forge.test/\n");
  sandbox.write("project/.git/config",
                "[remote \"a\"]\nurl = https://forge.test/a\n[remote \"b\"]\n"
                "url = https://forge.test/other/b\npushurl = https://forge.test/other/b\n");
  EXPECT_THAT(sandbox.found(), ElementsAre("mirror.example.com:443 git remote ~/.gitconfig:2 user",
                                           "push.example.com:22 off git remote ~/.gitconfig:6 user",
                                           "other.example.com:443 git remote ~/.gitconfig:4 user"));
}

TEST(GitRemotes, ARewritingRuleThatDoesNotSettleTheHostLendsNoTrust) {
  Sandbox sandbox;
  sandbox.write("home/.gitconfig",
                "[url \"https://\"]\ninsteadOf = git://\n[url \"https://mirror\"]\ninsteadOf = x:\n"
                "[remote \"mine\"]\nurl = y:/repo\n");
  sandbox.write("project/.git/config",
                "[remote \"a\"]\nurl = git://evil.test/a\n[remote \"b\"]\nurl = x:.evil.test/\n"
                "[url \"https://evil2.test\"]\ninsteadOf = y:\n");
  EXPECT_THAT(sandbox.found(),
              ElementsAre("evil2.test:443 git remote .git/config:6 project",
                          "evil.test:443 git remote .git/config:2 project",
                          "mirror.evil.test:443 git remote .git/config:4 project"));
}

TEST(GitRemotes, OfAWorktreeWhoseGitIsAFile) {
  Sandbox sandbox;
  sandbox.write("project/.git", "gitdir: ../main/.git/worktrees/w\n");
  sandbox.write("main/.git/worktrees/w/commondir", "../..\n");
  sandbox.write("main/.git/worktrees/w/config.worktree",
                "[remote \"w\"]\nurl = https://w.test/x\n");
  sandbox.write("main/.git/config", "[remote \"origin\"]\nurl = https://main.test/x\n");
  EXPECT_THAT(
      sandbox.found(),
      ElementsAre("w.test:443 git remote ../main/.git/worktrees/w/config.worktree:2 project",
                  "main.test:443 git remote ../main/.git/config:2 project"));
}

TEST(GitIncludes, AreFollowedForTheUserAndInsideOfTheRepositoryOnly) {
  Sandbox sandbox;
  sandbox.write("home/.gitconfig",
                "[include]\npath = ~/more\n[includeIf \"gitdir:x\"]\npath = conditional\n");
  sandbox.write("home/more", "[remote \"r\"]\nurl = https://more.example.com/\n");
  sandbox.write("project/.git/config",
                "[include]\npath = inside\npath = ../outside\npath = /etc/shadow\npath = "
                "../../outside\n");
  sandbox.write("project/.git/inside", "[remote \"i\"]\nurl = https://inside.test/\n");
  sandbox.write("project/outside", "[remote \"o\"]\nurl = https://no.test/\n");
  EXPECT_THAT(sandbox.found(), ElementsAre("more.example.com:443 git remote ~/more:2 user",
                                           "inside.test:443 git remote .git/inside:2 project"));
  const std::string hint = "\nhint: look there for remotes and for url.<base>.insteadOf";
  EXPECT_THAT(
      sandbox.warnings(),
      ElementsAre(
          "~/.gitconfig:4:1: error: it includes 'conditional', which was not read" + hint,
          ".git/config:3:1: error: it includes '../outside', which was not read" + hint,
          ".git/config:4:1: error: it includes '/etc/shadow', which was not read" + hint,
          ".git/config:5:1: error: it includes '../../outside', which was not read" + hint));
}

TEST(GitSubmodules, PathsThatLeaveTheProjectAreNotVisited) {
  Sandbox sandbox;
  sandbox.write("home/.npmrc.d/.npmrc", "registry = https://no.test\n");
  sandbox.write("project/.gitmodules",
                "[submodule \"a\"]\npath = ../home/.npmrc.d\n[submodule \"b\"]\npath = /etc\n"
                "[submodule \"c\"]\npath = x/../../home/.npmrc.d\n[submodule \"d\"]\npath = .\n");
  EXPECT_THAT(sandbox.found(), IsEmpty());
}

}  // namespace
}  // namespace sluice::allowlists::discover
