// npm, yarn and pnpm.
#include <re2/re2.h>

#include <string>
#include <vector>

#include "allowlists/discover/lines.h"
#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view npm = "npm registry";
constexpr std::string_view yarn = "yarn registry";
constexpr std::string_view lock_file = "npm lock file";

bool is_scoped(std::string_view key) { return key.starts_with('@') && key.ends_with(":registry"); }

void add_registry(Scan& scan, std::string_view key, std::string_view url, const Place& place) {
  if (key != "registry" && !is_scoped(key)) return;
  scan.findings.add_url(url, npm, place);
  if (key == "registry") scan.findings.replaces_default(Tool::npm);
}

void read_npm_file(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Setting& setting : read_npmrc(file->text)) {
    add_registry(scan, setting.path.back(), setting.value, file->at(setting.line));
  }
}

// yarn 1: registry "https://…", "@scope:registry" "https://…"
void read_yarn_1(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Line& line : split_lines(file->text)) {
    const auto words = words_of(line.text);
    if (words.size() < 2 || words.front().starts_with('#')) continue;
    const std::string_view key = unquoted(words[0]);
    if (key != "registry" && !is_scoped(key)) continue;
    scan.findings.add_url(unquoted(words[1]), yarn, file->at(line.number));
    if (key == "registry") scan.findings.replaces_default(Tool::npm);
  }
}

// yarn 2 and later
void read_yarn_2(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Setting& setting : settings_of(scan, *file, read_yaml(file->text))) {
    const bool plain = setting.is_at({"npmRegistryServer"});
    if (!plain && !setting.is_at({"npmPublishRegistry"}) &&
        !setting.is_at({"npmScopes", "*", "npmRegistryServer"}) &&
        !setting.is_at({"npmScopes", "*", "npmPublishRegistry"})) {
      continue;
    }
    scan.findings.add_url(setting.value, yarn, file->at(setting.line));
    if (plain) scan.findings.replaces_default(Tool::npm);
  }
}

void read_lock_files(Scan& scan, const std::string& folder) {
  static const RE2 json(R"re("resolved"\s*:\s*"([^"\\\s]*)")re");
  static const RE2 yarn_lines(R"re((?m)^[ \t]*resolved[ \t]+"?([^"\s]+))re");
  static const RE2 pnpm(R"re((?:tarball|repo):[ \t]*['"]?([^'",}\s]+))re");
  const std::vector<std::pair<std::string, const RE2*>> locks = {{"package-lock.json", &json},
                                                                 {"npm-shrinkwrap.json", &json},
                                                                 {"yarn.lock", &yarn_lines},
                                                                 {"pnpm-lock.yaml", &pnpm}};
  for (const auto& [name, regex] : locks) {
    if (const auto file = scan.files.project(folder + name)) {
      read_urls(scan, *file, {*regex, lock_file});
    }
  }
}

}  // namespace

void read_node_user(Scan& scan) {
  // npm reads its variables in any case (npm-config(7)).
  constexpr std::string_view prefix = "npm_config_";
  for (const auto& [name, value] : scan.files.machine().environment) {
    const std::string key = lowered(name);
    if (!key.starts_with(prefix)) continue;
    add_registry(scan, std::string_view(key).substr(prefix.size()), value,
                 {"$" + name, 0, Trust::user});
  }
  for (const char* name : {"YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER"}) {
    const std::string& url = scan.files.variable(name);
    if (url.empty()) continue;
    scan.findings.add_url(url, yarn, {std::string("$") + name, 0, Trust::user});
    scan.findings.replaces_default(Tool::npm);
  }
  for (const char* name : {"NPM_CONFIG_USERCONFIG", "npm_config_userconfig",
                           "NPM_CONFIG_GLOBALCONFIG", "npm_config_globalconfig"}) {
    read_npm_file(scan, scan.files.named_by(name));
  }
  read_npm_file(scan, scan.files.home(".npmrc"));
  read_npm_file(scan, scan.files.config("pnpm/rc"));
  for (const char* path : {"/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc"}) {
    read_npm_file(scan, scan.files.system(path));
  }
  read_yarn_1(scan, scan.files.home(".yarnrc"));
  read_yarn_2(scan, scan.files.home(".yarnrc.yml"));
}

void read_node_project(Scan& scan, const std::string& folder) {
  mark_used(scan, Tool::npm, folder + "package.json");
  read_npm_file(scan, scan.files.project(folder + ".npmrc"));
  read_yarn_1(scan, scan.files.project(folder + ".yarnrc"));
  read_yarn_2(scan, scan.files.project(folder + ".yarnrc.yml"));
  read_lock_files(scan, folder);
}

}  // namespace sluice::allowlists::discover
