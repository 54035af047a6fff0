// requirements files, pyproject.toml, Pipfile and the lock files beside them.
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <deque>
#include <filesystem>
#include <set>
#include <string>

#include "allowlists/discover/lines.h"
#include "allowlists/discover/python.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view requirement = "python requirement";
constexpr std::string_view lock_file = "python lock file";
constexpr std::size_t most_requirement_files = 32;

// The value of an option that `words[i]` is, behind '=' or in the next word.
std::string_view value_of(const std::vector<std::string_view>& words, std::size_t i,
                          std::string_view option) {
  const std::string_view word = words[i];
  if (word == option) return i + 1 < words.size() ? unquoted(words[i + 1]) : std::string_view();
  if (!word.starts_with(option)) return {};
  if (!option.starts_with("--")) return unquoted(word.substr(option.size()));
  return word[option.size()] == '=' ? unquoted(word.substr(option.size() + 1)) : std::string_view();
}

// Files that this one includes are named by their path below the project's directory.
std::string included(const TextFile& file, std::string_view path) {
  const std::filesystem::path folder = std::filesystem::path(file.name).parent_path();
  return (folder / path).lexically_normal().string();
}

bool is_below_project(const std::string& path) {
  return !path.empty() && !path.starts_with('/') && path != ".." && !path.starts_with("../") &&
         path != ".";
}

class Requirements {
 public:
  explicit Requirements(Scan& scan) : scan_(scan) {}

  void read(const std::string& relative) {
    waiting_.push_back(relative);
    while (!waiting_.empty()) {
      const std::string next = waiting_.front();
      waiting_.pop_front();
      if (seen_.size() >= most_requirement_files || !seen_.insert(next).second) continue;
      if (const auto file = scan_.files.project(next)) read_lines(*file);
    }
  }

 private:
  void read_lines(const TextFile& file) {
    for (const Line& line : join_continued(file.text)) {
      std::string_view text = trimmed(line.text);
      if (text.starts_with('#')) continue;
      text = text.substr(0, text.find(" #"));
      const auto words = words_of(text);
      for (std::size_t i = 0; i < words.size(); ++i) read_word(file, words, i, line.number);
    }
  }

  void read_word(const TextFile& file, const std::vector<std::string_view>& words, std::size_t i,
                 int line) {
    static constexpr std::array<std::string_view, 2> index = {"--index-url", "-i"};
    static constexpr std::array<std::string_view, 3> others = {"--extra-index-url", "--find-links",
                                                               "-f"};
    static constexpr std::array<std::string_view, 4> files = {"--requirement", "-r", "--constraint",
                                                              "-c"};
    for (const std::string_view option : index) {
      if (value_of(words, i, option).empty()) continue;
      scan_.findings.add_url(value_of(words, i, option), pip_index, file.at(line));
      scan_.findings.replaces_default(Tool::pip);
      return;
    }
    for (const std::string_view option : others) {
      if (value_of(words, i, option).empty()) continue;
      scan_.findings.add_url(value_of(words, i, option), pip_index, file.at(line));
      return;
    }
    for (const std::string_view option : files) {
      const std::string_view path = value_of(words, i, option);
      if (!path.empty()) return include(file, path);
    }
    const bool follows_option = i > 0 && words[i - 1].starts_with('-') && words[i - 1] != "-e" &&
                                words[i - 1] != "--editable";
    if (!words[i].starts_with('-') && !follows_option && words[i].find("://") < words[i].size()) {
      add_requirement(file, words[i], line);
    }
  }

  // "name@https://…", "git+ssh://git@host/…"
  void add_requirement(const TextFile& file, std::string_view word, int line) {
    const std::size_t at = word.find('@');
    if (at < word.find("://")) word.remove_prefix(at + 1);
    scan_.findings.add_url(unquoted(word), requirement, file.at(line));
  }

  void include(const TextFile& file, std::string_view path) {
    const std::string relative = included(file, path);
    if (is_below_project(relative)) waiting_.push_back(relative);
  }

  Scan& scan_;
  std::deque<std::string> waiting_;
  std::set<std::string> seen_;
};

bool is_source(const Setting& setting) {
  return setting.is_at({"tool", "poetry", "source", "[]", "url"}) ||
         setting.is_at({"tool", "pdm", "source", "[]", "url"});
}

bool is_dependency(const Setting& setting) {
  for (const std::string_view key : {"git", "url"}) {
    if (setting.is_at({"tool", "uv", "sources", "*", key}) ||
        setting.is_at({"tool", "poetry", "dependencies", "*", key}) ||
        setting.is_at({"tool", "poetry", "group", "*", "dependencies", "*", key})) {
      return true;
    }
  }
  return false;
}

void read_pyproject(Scan& scan, const TextFile& file) {
  for (const Setting& setting : settings_of(scan, file, read_toml(file.text))) {
    const Place place = file.at(setting.line);
    if (is_source(setting)) {
      scan.findings.add_url(setting.value, pip_index, place);
      scan.findings.replaces_default(Tool::pip);
    } else if (is_dependency(setting)) {
      scan.findings.add_url(setting.value, requirement, place);
    } else if (setting.path.size() > 2 && setting.path[0] == "tool" && setting.path[1] == "uv") {
      add_uv_setting(scan, setting, 2, place);
    }
  }
}

void read_pipfile(Scan& scan, const TextFile& file) {
  for (const Setting& setting : settings_of(scan, file, read_toml(file.text))) {
    if (setting.is_at({"source", "[]", "url"})) {
      scan.findings.add_url(setting.value, pip_index, file.at(setting.line));
      scan.findings.replaces_default(Tool::pip);
    } else if (setting.is_at({"packages", "*", "git"}) ||
               setting.is_at({"dev-packages", "*", "git"})) {
      scan.findings.add_url(setting.value, requirement, file.at(setting.line));
    }
  }
}

}  // namespace

void read_python_project(Scan& scan, const std::string& folder) {
  static const RE2 toml_lock(R"re(\b(?:registry|url|git)[ \t]*=[ \t]*"([^"\\\s]+)")re");
  static const RE2 json_lock(R"re("url"\s*:\s*"([^"\\\s]+)")re");
  for (const char* name : {"requirements.txt", "pyproject.toml", "Pipfile", "setup.py"}) {
    mark_used(scan, Tool::pip, folder + name);
  }
  Requirements requirements(scan);
  for (const std::string_view prefix : {"requirements", "constraints"}) {
    for (const auto& name : scan.files.names_in(scan.files.project_path(folder), prefix, ".txt")) {
      requirements.read(folder + name);
    }
  }
  if (const auto file = scan.files.project(folder + "pyproject.toml")) read_pyproject(scan, *file);
  if (const auto file = scan.files.project(folder + "Pipfile")) read_pipfile(scan, *file);
  read_uv_file(scan, scan.files.project(folder + "uv.toml"));
  for (const char* name : {"uv.lock", "poetry.lock", "pdm.lock"}) {
    const auto file = scan.files.project(folder + name);
    if (file) read_urls(scan, *file, {toml_lock, lock_file});
  }
  const auto lock = scan.files.project(folder + "Pipfile.lock");
  if (lock) read_urls(scan, *lock, {json_lock, lock_file});
}

}  // namespace sluice::allowlists::discover
