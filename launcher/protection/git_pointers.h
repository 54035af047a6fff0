// Reads where a repository's own files lead git: to other configuration, hooks and programs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launcher/protection/git_index.h"

namespace sluice::launcher {

enum class Obeyed : std::uint8_t {
  hooks,      // core.hooksPath
  include,    // a further configuration file
  program,    // a word of a command that git runs by itself
  asked_for,  // a word of a command that git runs when it is asked for by name, as an alias
  computed,   // a command with a part that only a shell can tell
  more,       // there are more than most_pointers, which are not told
};

inline constexpr std::size_t most_pointers = 2000;  // of one configuration

struct GitPointer {
  Obeyed as = Obeyed::program;
  // Absolute; a program's need not be one. Computed: the setting, as "core.editor".
  std::string path;
};

struct GitConfigPlace {
  std::string file;       // the configuration, absolute
  std::string work_tree;  // what relative hooks and programs begin at
  std::string home;       // "~/"
};

// What one configuration file names, its includes not followed. A file with an error says nothing:
// git refuses it as well.
std::vector<GitPointer> pointers_of_config(std::string_view text, const GitConfigPlace& place);

struct RepositoryFacts {
  ObjectFormat format = ObjectFormat::sha1;
  std::string work_tree;  // core.worktree, absolute; "" for none
};

// What the configuration at `place.file` says of its own repository.
RepositoryFacts facts_of_config(std::string_view text, const GitConfigPlace& place);

// Where a .git file ("gitdir: PATH", `key` is "gitdir:") or a commondir file (`key` is "") leads,
// seen from `folder`; "" for none.
std::string pointed_to(std::string_view text, std::string_view key, const std::string& folder);

}  // namespace sluice::launcher
