// One reader a kind of tool: what its configuration files and variables name.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "allowlists/discover/files.h"
#include "allowlists/discover/findings.h"
#include "allowlists/discover/settings.h"

namespace re2 {
class RE2;
}

namespace sluice::allowlists::discover {

struct Scan {
  Files& files;
  Findings& findings;
  std::map<Tool, std::string> used;  // which tools the project uses, and the file that says so
};

// What the operator and the system have configured.
void read_node_user(Scan& scan);
void read_python_user(Scan& scan);
void read_cargo_user(Scan& scan);
void read_go_user(Scan& scan);
void read_maven_user(Scan& scan);
void read_apt(Scan& scan);

// What the project has configured in `folder`: "" or a submodule's path with '/' behind it.
void read_node_project(Scan& scan, const std::string& folder);
void read_python_project(Scan& scan, const std::string& folder);
void read_cargo_project(Scan& scan, const std::string& folder);
void read_go_project(Scan& scan, const std::string& folder);
void read_maven_project(Scan& scan, const std::string& folder);

// For tools that are used and that nothing has told which registry to use: what their installed
// files say, or the command that tells.
void read_defaults(Scan& scan);

// Whether a project file is there; notes that its tool is used.
void mark_used(Scan& scan, Tool tool, const std::string& relative);

// The settings, or none and a warning.
Settings settings_of(Scan& scan, const TextFile& file, ReadSettings settings);

// Every URL that the first group of `pattern` finds in a file.
struct UrlPattern {
  const re2::RE2& regex;
  std::string_view tool;
};
void read_urls(Scan& scan, const TextFile& file, const UrlPattern& pattern);

}  // namespace sluice::allowlists::discover
