// cargo: .cargo/config.toml, Cargo.toml, Cargo.lock.
#include <re2/re2.h>

#include <string>

#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view registry = "cargo registry";
constexpr std::string_view dependency = "cargo dependency";
constexpr std::string_view lock_file = "cargo lock file";

void add_registry(Scan& scan, std::string_view url, const Place& place) {
  scan.findings.add_url(url, registry, place);
  scan.findings.note(
      "a cargo registry may have its crates downloaded from another host, which 'dl' in its "
      "index's config.json names");
}

void read_config(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Setting& setting : settings_of(scan, *file, read_toml(file->text))) {
    const Place place = file->at(setting.line);
    if (setting.is_at({"registries", "*", "index"}) || setting.is_at({"source", "*", "registry"}) ||
        setting.is_at({"registry", "index"})) {
      add_registry(scan, setting.value, place);
    } else if (setting.is_at({"source", "*", "git"})) {
      scan.findings.add_url(setting.value, dependency, place);
    }
    const bool replaced = setting.is_at({"source", "crates-io", "replace-with"}) ||
                          setting.is_at({"source", "crates-io", "registry"}) ||
                          setting.is_at({"registries", "crates-io", "index"});
    if (replaced) scan.findings.replaces_default(Tool::cargo);
  }
}

// {dependencies,dev-dependencies,workspace.dependencies,target.*.dependencies,patch.*}.NAME.git
void read_manifest(Scan& scan, const TextFile& file) {
  for (const Setting& setting : settings_of(scan, file, read_toml(file.text))) {
    const std::string& key = setting.path.back();
    if (setting.path.size() < 3) continue;
    if (key == "git") scan.findings.add_url(setting.value, dependency, file.at(setting.line));
    if (key == "registry-index") add_registry(scan, setting.value, file.at(setting.line));
  }
}

}  // namespace

void read_cargo_user(Scan& scan) {
  // CARGO_REGISTRIES_NAME_INDEX
  for (const auto& [name, value] : scan.files.machine().environment) {
    if (!name.starts_with("CARGO_REGISTRIES_") || !name.ends_with("_INDEX")) continue;
    add_registry(scan, value, {"$" + name, 0, Trust::user});
  }
  const std::string& cargo_home = scan.files.variable("CARGO_HOME");
  for (const char* name : {"config.toml", "config"}) {
    read_config(scan, cargo_home.empty() ? scan.files.home(std::string(".cargo/") + name)
                                         : scan.files.user(cargo_home + "/" + name));
  }
}

void read_cargo_project(Scan& scan, const std::string& folder) {
  static const RE2 source(R"re((?m)^source[ \t]*=[ \t]*"((?:registry|sparse|git)\+[^"\\\s]+)")re");
  mark_used(scan, Tool::cargo, folder + "Cargo.toml");
  for (const char* name : {".cargo/config.toml", ".cargo/config"}) {
    read_config(scan, scan.files.project(folder + name));
  }
  if (const auto file = scan.files.project(folder + "Cargo.toml")) read_manifest(scan, *file);
  const auto lock = scan.files.project(folder + "Cargo.lock");
  if (lock) read_urls(scan, *lock, {source, lock_file});
}

}  // namespace sluice::allowlists::discover
