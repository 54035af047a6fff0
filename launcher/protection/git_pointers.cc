#include "launcher/protection/git_pointers.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "allowlists/discover/git_config.h"

namespace sluice::launcher {
namespace {

using allowlists::discover::GitEntry;

constexpr std::string_view blanks = " \t\r\n";

std::string resolve(const std::string& value, const std::string& base, const std::string& home) {
  if (value.starts_with("~/")) return home + value.substr(1);
  return (std::filesystem::path(base) / value).string();
}

// Commands in them are run without being asked for by name, as those of aliases are.
bool runs_by_itself(const GitEntry& entry) {
  constexpr std::array<std::string_view, 9> sections{
      "core", "filter", "diff", "merge", "gpg", "credential", "sequence", "interactive", "pager"};
  return std::find(sections.begin(), sections.end(), entry.section) != sections.end();
}

void add_words(const std::string& value, const GitConfigPlace& place,
               std::vector<GitPointer>& pointers) {
  constexpr std::string_view between = " \t\r\n!\"';&|<>()$`=";
  for (std::size_t at = 0; at < value.size();) {
    const std::size_t begin = value.find_first_not_of(between, at);
    if (begin == std::string::npos) return;
    at = std::min(value.find_first_of(between, begin), value.size());
    pointers.push_back(
        {Obeyed::program, resolve(value.substr(begin, at - begin), place.work_tree, place.home)});
  }
}

}  // namespace

std::vector<GitPointer> pointers_of_config(std::string_view text, const GitConfigPlace& place) {
  std::vector<GitPointer> pointers;
  const auto entries = allowlists::discover::read_git_config(text);
  if (!entries) return pointers;
  const std::string folder = std::filesystem::path(place.file).parent_path().string();
  for (const GitEntry& entry : *entries) {
    if (entry.value.empty()) continue;
    const bool includes = entry.section == "include" || entry.section == "includeif";
    if (includes && entry.key == "path") {
      pointers.push_back({Obeyed::include, resolve(entry.value, folder, place.home)});
    } else if (entry.section == "core" && entry.key == "hookspath") {
      pointers.push_back({Obeyed::hooks, resolve(entry.value, place.work_tree, place.home)});
    } else if (runs_by_itself(entry)) {
      add_words(entry.value, place, pointers);
    }
  }
  return pointers;
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
