#include "allowlists/discover/discover.h"

#include <dirent.h>
#include <fmt/core.h>
#include <re2/re2.h>

#include <algorithm>
#include <cerrno>

#include "allowlists/discover/git.h"
#include "allowlists/discover/readers.h"
#include "base/text.h"

namespace sluice::allowlists::discover {
namespace {

Result<void> expect_directory(const std::string& directory) {
  DIR* stream = ::opendir(directory.c_str());
  if (stream == nullptr) {
    return fail_errno(Errc::bad_config, fmt::format("'{}'", text::printable(directory)),
                      "name the project's directory: sluice policy discover DIR");
  }
  ::closedir(stream);
  return {};
}

void read_user(Scan& scan, GitRemotes& remotes) {
  read_node_user(scan);
  read_python_user(scan);
  read_cargo_user(scan);
  read_go_user(scan);
  read_maven_user(scan);
  read_git_user(scan, remotes);
  read_apt(scan);
}

void read_project(Scan& scan, GitRemotes& remotes, const std::string& folder) {
  read_git_project(scan, remotes, folder);
  read_node_project(scan, folder);
  read_python_project(scan, folder);
  read_cargo_project(scan, folder);
  read_go_project(scan, folder);
  read_maven_project(scan, folder);
}

}  // namespace

void mark_used(Scan& scan, Tool tool, const std::string& relative) {
  if (scan.files.project_has(relative)) scan.used.emplace(tool, relative);
}

Settings settings_of(Scan& scan, const TextFile& file, ReadSettings settings) {
  if (settings) return std::move(*settings);
  scan.findings.warn(file.at(settings.error().line), settings.error().what,
                     "correct it, or look there for registries yourself");
  return {};
}

void read_urls(Scan& scan, const TextFile& file, const UrlPattern& pattern) {
  re2::StringPiece rest(file.text);
  re2::StringPiece url;
  const char* counted = file.text.data();
  int line = 1;
  while (RE2::FindAndConsume(&rest, pattern.regex, &url)) {
    line += static_cast<int>(std::count(counted, url.data(), '\n'));
    counted = url.data();
    scan.findings.add_url({url.data(), url.size()}, pattern.tool, file.at(line));
  }
}

Result<Findings> discover(const std::string& directory, const Machine& machine) {
  if (auto usable = expect_directory(directory); !usable) return Failure(usable.error());
  Findings findings;
  Files files(directory, machine, findings);
  Scan scan{files, findings, {}};
  GitRemotes remotes;
  read_user(scan, remotes);
  read_project(scan, remotes, "");
  for (const std::string& folder : submodule_folders(scan)) read_project(scan, remotes, folder);
  remotes.report(findings);
  read_defaults(scan);
  return findings;
}

}  // namespace sluice::allowlists::discover
