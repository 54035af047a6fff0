// Opens the few files that discovery knows by name: bounded, without waiting, each with its trust.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/discover/findings.h"

namespace sluice::allowlists::discover {

// The operator's machine. Nothing of the process itself is read.
struct Machine {
  std::map<std::string, std::string> environment;
  std::string home;        // may be empty: no files of the user
  std::string root = "/";  // what absolute paths of the system begin with
};

struct TextFile {
  std::string path;  // to open it
  std::string name;  // to show it: below the project's directory, or with "~"
  std::string text;
  Trust trust = Trust::project;

  Place at(int line) const { return {name, line, trust}; }
};

class Files {
 public:
  static constexpr std::size_t max_bytes = 1 << 20;  // of one file
  static constexpr std::size_t max_files = 512;      // all that are opened
  static constexpr std::size_t max_bytes_in_all = 32 << 20;
  static constexpr std::size_t max_entries = 1000;  // of one directory

  Files(std::string directory, const Machine& machine, Findings& findings);

  // A file of the project by its path below the directory, or by an absolute path that a file of
  // the project names. Nothing where there is none; what cannot
  // be read is a warning.
  std::optional<TextFile> project(const std::string& relative);
  // A file of the operator or the system. It counts as the project's where its path leads through
  // the project's directory, by name or by a symbolic link.
  std::optional<TextFile> user(const std::string& path);
  // A path below the system's root: "/etc/npmrc".
  std::optional<TextFile> system(std::string_view path);
  // A path below the user's home directory.
  std::optional<TextFile> home(std::string_view relative);
  // $XDG_CONFIG_HOME or ~/.config.
  std::optional<TextFile> config(std::string_view relative);
  // The file that an environment variable names; nothing where it is not set.
  std::optional<TextFile> named_by(const std::string& variable);

  // Names in a directory that begin and end so, sorted; at most max_entries are looked at.
  std::vector<std::string> names_in(const std::string& path, std::string_view prefix,
                                    std::string_view suffix) const;
  std::string system_path(std::string_view path) const;
  std::string project_path(const std::string& relative) const;
  bool project_has(const std::string& relative) const;

  // The environment variable, "" where it is not set.
  const std::string& variable(const std::string& name) const;
  const Machine& machine() const noexcept { return machine_; }

 private:
  std::optional<TextFile> open(const std::string& path, std::string name, Trust trust);
  bool leads_through_project(const std::string& path) const;
  std::string shown(const std::string& path) const;

  std::string directory_;  // as given
  std::string canonical_;  // without symbolic links
  const Machine& machine_;
  Findings& findings_;
  std::size_t opened_ = 0;
  std::size_t read_ = 0;
};

}  // namespace sluice::allowlists::discover
