#include "launcher/protection/names.h"

#include <array>

namespace sluice::launcher {
namespace {

constexpr std::array<ProtectedName, 6> repository{{
    {"hooks", StandIn::directory, "git runs what is in it"},
    {"config", StandIn::file, "names programs that git status, diff and commit run"},
    {"config.worktree", StandIn::file, "is obeyed as config is"},
    {"commondir", StandIn::own_place, "makes git obey another directory's config and hooks"},
    {"remotes", StandIn::directory, "may name a repository here, whose hooks a push runs"},
    {"branches", StandIn::directory, "may name a repository here, whose hooks a push runs"},
}};

constexpr std::array<ProtectedName, 3> linked_worktree{{
    {"commondir", StandIn::none, "makes git obey another directory's config and hooks"},
    {"gitdir", StandIn::none, "names the directory that git worktree remove deletes"},
    {"config.worktree", StandIn::file, "is obeyed as config is"},
}};

constexpr std::array<ProtectedName, 25> project{{
    {".sluice.yaml", StandIn::none, "the policy of later runs; obeyed only once it is trusted"},
    {".envrc", StandIn::directory, "direnv runs it on cd"},
    {".vscode", StandIn::directory, "tasks, launchers and paths of programs that the editor runs"},
    {".idea", StandIn::directory, "run configurations and file watchers that the editor runs"},
    {".zed", StandIn::directory, "tasks and paths of programs that the editor runs"},
    {".fleet", StandIn::none, "run configurations that the editor runs"},
    {".vimrc", StandIn::none, "vim and nvim run it where exrc is set"},
    {".exrc", StandIn::none, "vim and nvim run it where exrc is set"},
    {".nvimrc", StandIn::none, "nvim runs it where exrc is set"},
    {".nvim.lua", StandIn::none, "nvim runs it where exrc is set"},
    {".devcontainer", StandIn::directory, "initializeCommand runs on the machine itself"},
    {".devcontainer.json", StandIn::directory, "initializeCommand runs on the machine itself"},
    {".mcp.json", StandIn::directory, "servers that an agent outside starts"},
    {".claude", StandIn::directory, "hooks, commands and permissions of an agent outside"},
    {".codex", StandIn::directory, "servers, notifiers and permissions of an agent outside"},
    {".cursor", StandIn::directory, "hooks and servers that the editor's agent starts"},
    {".gemini", StandIn::directory, "servers and tool commands of an agent outside"},
    {".windsurf", StandIn::directory, "hooks and workflows that the editor's agent runs"},
    {".continue", StandIn::none, "servers that the editor's agent starts"},
    {".kiro", StandIn::none, "hooks and servers that the editor's agent starts"},
    {".roo", StandIn::none, "servers that the editor's agent starts"},
    {".opencode", StandIn::directory, "plugins that an agent outside loads"},
    {".aider.conf.yml", StandIn::directory, "lint and test commands that aider runs"},
    {".husky", StandIn::none, "git hooks of a work tree, where core.hooksPath names it"},
    {".githooks", StandIn::none, "git hooks of a work tree, where core.hooksPath names it"},
}};

constexpr std::array<ProtectedName, 3> mercurial{{
    {"hgrc", StandIn::file, "names hooks and extensions that hg runs"},
    {"hgrc-not-shared", StandIn::file, "names hooks and extensions that hg runs"},
    {"sharedpath", StandIn::none, "makes hg obey another directory's hgrc"},
}};

constexpr std::array<ProtectedName, 3> sapling{{
    {"config", StandIn::file, "names hooks and extensions that sl runs"},
    {"hgrc", StandIn::file, "names hooks and extensions that sl runs"},
    {"sharedpath", StandIn::none, "makes sl obey another directory's config"},
}};

// Without stand-ins: jj moves its own configuration.
constexpr std::array<ProtectedName, 3> jujutsu{{
    {"repo/config.toml", StandIn::none, "names programs that jj runs"},
    {"repo/config-id", StandIn::none, "says which configuration jj obeys"},
    {"workspace-config.toml", StandIn::none, "names programs that jj runs"},
}};

constexpr std::array<OtherSystem, 3> systems{{
    {".hg", "a repository, whose hooks and config hg obeys", mercurial},
    {".sl", "a repository, whose hooks and config sl obeys", sapling},
    {".jj", "a repository, whose config jj obeys", jujutsu},
}};

constexpr std::array<ProtectedName, 1> watched{{
    {"rebase-merge/git-rebase-todo", StandIn::none, "git rebase --continue runs its exec lines"},
}};

}  // namespace

std::span<const ProtectedName> names_of_repository() noexcept { return repository; }
std::span<const ProtectedName> names_of_linked_worktree() noexcept { return linked_worktree; }
std::span<const ProtectedName> names_of_project() noexcept { return project; }
std::span<const OtherSystem> other_systems() noexcept { return systems; }
std::span<const ProtectedName> names_only_watched() noexcept { return watched; }

}  // namespace sluice::launcher
