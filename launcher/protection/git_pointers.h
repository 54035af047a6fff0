// Reads where a repository's own files lead git: to other configuration, hooks and programs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::launcher {

enum class Obeyed : std::uint8_t {
  hooks,    // core.hooksPath
  include,  // a further configuration file
  program,  // a word of a command that git runs by itself
};

struct GitPointer {
  Obeyed as = Obeyed::program;
  std::string path;  // absolute; a program's need not be one
};

struct GitConfigPlace {
  std::string file;       // the configuration, absolute
  std::string work_tree;  // what relative hooks and programs begin at
  std::string home;       // "~/"
};

// What one configuration file names, its includes not followed. A file with an error says nothing:
// git refuses it as well.
std::vector<GitPointer> pointers_of_config(std::string_view text, const GitConfigPlace& place);

// Where a .git file ("gitdir: PATH", `key` is "gitdir:") or a commondir file (`key` is "") leads,
// seen from `folder`; "" for none.
std::string pointed_to(std::string_view text, std::string_view key, const std::string& folder);

}  // namespace sluice::launcher
