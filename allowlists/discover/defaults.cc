// What tools use that nobody has configured: read from their installed files, or a question.
#include <fmt/core.h>
#include <re2/re2.h>

#include <array>
#include <string>
#include <vector>

#include "allowlists/discover/go.h"
#include "allowlists/discover/lines.h"
#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {
namespace {

// `folder`/NAME`below` for each NAME there that begins with `prefix`.
std::vector<std::string> in_versions(const Files& files, const std::string& folder,
                                     std::string_view prefix, std::string_view below) {
  std::vector<std::string> paths;
  for (const std::string& name : files.names_in(folder, prefix, "")) {
    paths.push_back(fmt::format("{}/{}{}", folder, name, below));
  }
  return paths;
}

void append(std::vector<std::string>& paths, const std::vector<std::string>& more) {
  paths.insert(paths.end(), more.begin(), more.end());
}

std::vector<std::string> npm_files(const Files& files) {
  constexpr std::string_view definitions = "@npmcli/config/lib/definitions/definitions.js";
  std::vector<std::string> paths;
  for (const std::string_view folder :
       {"/usr/local/lib/node_modules/npm/node_modules/", "/usr/lib/node_modules/npm/node_modules/",
        "/usr/share/nodejs/npm/node_modules/", "/usr/share/nodejs/"}) {
    paths.push_back(files.system_path(std::string(folder) + std::string(definitions)));
  }
  return paths;
}

std::vector<std::string> pip_files(const Files& files) {
  std::vector<std::string> paths;
  const std::string index = "/pip/_internal/models/index.py";
  std::vector<std::string> folders;
  if (const auto& venv = files.variable("VIRTUAL_ENV"); !venv.empty())
    folders.push_back(venv + "/lib");
  if (!files.machine().home.empty()) folders.push_back(files.machine().home + "/.local/lib");
  folders.push_back(files.system_path("/usr/local/lib"));
  folders.push_back(files.system_path("/usr/lib"));
  for (const std::string& folder : folders) {
    append(paths, in_versions(files, folder, "python3", "/site-packages" + index));
    append(paths, in_versions(files, folder, "python3", "/dist-packages" + index));
  }
  return paths;
}

std::vector<std::string> go_files(const Files& files) {
  std::vector<std::string> paths;
  if (const auto& root = files.variable("GOROOT"); !root.empty()) paths.push_back(root + "/go.env");
  paths.push_back(files.system_path("/usr/local/go/go.env"));
  paths.push_back(files.system_path("/usr/lib/go/go.env"));
  append(paths, in_versions(files, files.system_path("/usr/lib"), "go-", "/go.env"));
  append(paths, in_versions(files, files.system_path("/usr/share"), "go-", "/go.env"));
  return paths;
}

bool read_npm(Scan& scan) {
  static const RE2 definition(
      R"re(['"]registry['"],\s*(?:new Definition\([^{]*)?\{\s*default:\s*['"`]([^'"`\s]{1,200})['"`])re");
  for (const std::string& path : npm_files(scan.files)) {
    const auto file = scan.files.user(path);
    if (!file) continue;
    read_urls(scan, *file, {definition, "npm registry (npm's own default)"});
    if (RE2::PartialMatch(file->text, definition)) return true;
  }
  return false;
}

bool read_pip(Scan& scan) {
  static const RE2 index(R"re((?m)^PyPI\s*=\s*PackageIndex\(\s*["']([^"'\s]{1,200})["'])re");
  static const RE2 storage(
      R"re((?m)^PyPI\s*=\s*PackageIndex\([^)]*file_storage_domain\s*=\s*["']([a-zA-Z0-9.-]{1,200})["'])re");
  for (const std::string& path : pip_files(scan.files)) {
    const auto file = scan.files.user(path);
    if (!file) continue;
    constexpr std::string_view tool = "pip index (pip's own default)";
    read_urls(scan, *file, {index, tool});
    std::string domain;
    if (RE2::PartialMatch(file->text, storage, &domain)) {
      scan.findings.add_url("https://" + domain, tool, file->at(0));
    }
    if (RE2::PartialMatch(file->text, index)) return true;
  }
  return false;
}

bool read_go(Scan& scan) {
  for (const std::string& path : go_files(scan.files)) {
    const auto file = scan.files.user(path);
    if (!file) continue;
    for (const Setting& setting : read_key_values(file->text)) {
      add_go_setting(scan, setting.path.back(), setting.value, file->at(setting.line));
    }
    if (scan.findings.has_replaced_default(Tool::go)) return true;
  }
  return false;
}

bool read_nothing(Scan&) { return false; }

struct Default {
  Tool tool;
  std::string_view name;
  bool (*read)(Scan&);
  std::string_view question;  // what the operator can do
};
constexpr std::array<Default, 5> defaults = {
    {{Tool::npm, "npm", read_npm, "'npm config get registry' prints it"},
     {Tool::pip, "pip", read_pip,
      "'pip download -v --no-deps NAME' prints it, and the host that the files come from"},
     {Tool::cargo, "cargo", read_nothing,
      "the chapter on registries of cargo's book names it; it says 'crates-io' for it"},
     {Tool::go, "go", read_go, "'go env GOPROXY GOSUMDB' prints it"},
     {Tool::maven, "maven", read_nothing,
      "'mvn help:effective-pom' prints it under repositories"}}};

}  // namespace

void read_defaults(Scan& scan) {
  for (const Default& one : defaults) {
    const auto used = scan.used.find(one.tool);
    if (used == scan.used.end() || scan.findings.has_replaced_default(one.tool)) continue;
    if (one.read(scan)) continue;
    scan.findings.note(
        fmt::format("{} is used here ({}) and nothing names its default registry: {}", one.name,
                    Place{used->second}.to_string(), one.question));
  }
}

}  // namespace sluice::allowlists::discover
