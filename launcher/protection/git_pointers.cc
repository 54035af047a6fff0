#include "launcher/protection/git_pointers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <utility>

#include "allowlists/discover/git_config.h"

namespace sluice::launcher {
namespace {

using allowlists::discover::GitEntry;

constexpr std::string_view blanks = " \t\r\n";
constexpr std::size_t longest_command = std::size_t{64} * 1024;  // spelled out

std::string resolve(const std::string& value, const std::string& base, const std::string& home) {
  if (value.starts_with("~/")) return home + value.substr(1);
  return (std::filesystem::path(base) / value).string();
}

// Commands in them are run without being asked for by name.
bool runs_by_itself(const GitEntry& entry) {
  constexpr std::array<std::string_view, 11> sections{
      "core",     "filter",      "diff",  "merge", "gpg",    "credential",
      "sequence", "interactive", "pager", "hook",  "trailer"};
  return std::find(sections.begin(), sections.end(), entry.section) != sections.end();
}

bool runs_when_asked(const GitEntry& entry) {
  constexpr std::array<std::string_view, 9> sections{"difftool", "mergetool", "browser",
                                                     "man",      "sendemail", "tar",
                                                     "guitool",  "remote",    "instaweb"};
  if (entry.section == "alias" || entry.section == "submodule") return entry.value.front() == '!';
  return std::find(sections.begin(), sections.end(), entry.section) != sections.end();
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  const auto continues = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  const bool is_name = continues(what.back());  // of a variable, which may be a longer one
  for (std::size_t at = text.find(what); at != std::string::npos && text.size() <= longest_command;
       at = text.find(what, at)) {
    const std::size_t end = at + what.size();
    if (is_name && end < text.size() && continues(text[end])) {
      at = end;
      continue;
    }
    text.replace(at, what.size(), with);
    at += with.size();
  }
}

// What a shell would make of the usual ways to say where the repository is. It does not look again
// at what it has put in; here nothing is put in that would have to be looked at.
std::string spelled_out(std::string text, const GitConfigPlace& place) {
  const std::string git = std::filesystem::path(place.file).parent_path().string();
  for (const std::string& path : {git, place.work_tree, place.home}) {
    if (path.find_first_of("$`") != std::string::npos) return text;
  }
  const std::array<std::pair<const char*, const std::string&>, 5> asked{
      {{"--show-toplevel", place.work_tree},
       {"--show-cdup", place.work_tree},
       {"--git-dir", git},
       {"--absolute-git-dir", git},
       {"--git-common-dir", git}}};
  for (const auto& [option, path] : asked) {
    const std::string command = std::string("git rev-parse ") + option;
    replace_all(text, "$(" + command + ")", path);
    replace_all(text, "`" + command + "`", path);
  }
  const std::array<std::pair<const char*, const std::string&>, 4> variables{
      {{"PWD", place.work_tree},
       {"GIT_WORK_TREE", place.work_tree},
       {"GIT_DIR", git},
       {"HOME", place.home}}};
  for (const auto& [name, path] : variables) {
    replace_all(text, std::string("${") + name + "}", path);
    replace_all(text, std::string("$") + name, path);
  }
  return text;
}

bool is_computed(std::string_view text) {
  for (std::size_t at = text.find_first_of("`$"); at != std::string_view::npos;
       at = text.find_first_of("`$", at + 1)) {
    if (text[at] == '`') return true;
    const char next = at + 1 < text.size() ? text[at + 1] : ' ';
    // "$1", "$@" and the like are what git gives the command.
    if (next == '(' || next == '{' || next == '_' || std::isalpha(static_cast<unsigned char>(next)))
      return true;
  }
  return false;
}

// What stands between quotes is one word, whatever is in it, and its parts may be words of another
// shell.
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::string bare;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::size_t end = text[at] == '"' || text[at] == '\'' ? text.find(text[at], at + 1) : at;
    if (end == at) bare += text[at];
    if (end == at || end == std::string::npos) continue;
    const std::string quoted = text.substr(at + 1, end - at - 1);
    if (quoted.find_first_of(blanks) != std::string::npos) words.push_back(quoted);
    bare += quoted;
    at = end;
  }
  constexpr std::string_view between = " \t\r\n!\"';&|<>()$`=";
  for (std::size_t at = 0; at < bare.size();) {
    const std::size_t begin = bare.find_first_not_of(between, at);
    if (begin == std::string::npos) break;
    at = std::min(bare.find_first_of(between, begin), bare.size());
    words.push_back(bare.substr(begin, at - begin));
  }
  return words;
}

void add_command(const GitEntry& entry, Obeyed as, const GitConfigPlace& place,
                 std::vector<GitPointer>& pointers) {
  const std::string text = spelled_out(entry.value, place);
  const bool is_long = text.size() > longest_command;
  if (is_long || is_computed(text)) {
    const std::string subsection = entry.subsection.empty() ? "" : entry.subsection + ".";
    pointers.push_back({Obeyed::computed, entry.section + "." + subsection + entry.key});
  }
  if (is_long) return;
  for (const std::string& word : words_of(text)) {
    if (pointers.size() >= most_pointers) return;
    pointers.push_back({as, resolve(word, place.work_tree, place.home)});
  }
}

}  // namespace

std::vector<GitPointer> pointers_of_config(std::string_view text, const GitConfigPlace& place) {
  std::vector<GitPointer> pointers;
  const auto entries = allowlists::discover::read_git_config(text);
  if (!entries) return pointers;
  const std::string folder = std::filesystem::path(place.file).parent_path().string();
  for (const GitEntry& entry : *entries) {
    if (pointers.size() >= most_pointers) break;
    if (entry.value.empty()) continue;
    const bool includes = entry.section == "include" || entry.section == "includeif";
    if (includes && entry.key == "path") {
      pointers.push_back({Obeyed::include, resolve(entry.value, folder, place.home)});
    } else if (entry.section == "core" && entry.key == "hookspath") {
      pointers.push_back({Obeyed::hooks, resolve(entry.value, place.work_tree, place.home)});
    } else if (runs_by_itself(entry)) {
      add_command(entry, Obeyed::program, place, pointers);
    } else if (runs_when_asked(entry)) {
      add_command(entry, Obeyed::asked_for, place, pointers);
    }
  }
  if (pointers.size() >= most_pointers) pointers.push_back({Obeyed::more, ""});
  return pointers;
}

RepositoryFacts facts_of_config(std::string_view text, const GitConfigPlace& place) {
  RepositoryFacts facts;
  const auto entries = allowlists::discover::read_git_config(text);
  if (!entries) return facts;
  const std::string folder = std::filesystem::path(place.file).parent_path().string();
  for (const GitEntry& entry : *entries) {
    if (entry.section == "extensions" && entry.key == "objectformat") {
      facts.format = entry.value == "sha256" ? ObjectFormat::sha256 : ObjectFormat::sha1;
    } else if (entry.section == "core" && entry.key == "worktree" && !entry.value.empty()) {
      facts.work_tree = resolve(entry.value, folder, place.home);
    }
  }
  return facts;
}

std::string pointed_to(std::string_view text, std::string_view key, const std::string& folder) {
  if (!text.starts_with(key)) return {};
  text.remove_prefix(key.size());
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  const std::size_t end = text.find_last_not_of("\r\n");
  return (std::filesystem::path(folder) / text.substr(begin, end + 1 - begin)).string();
}

}  // namespace sluice::launcher
