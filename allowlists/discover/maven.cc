// Maven: pom.xml and settings.xml. Gradle's build files are programs, which are not run.
#include <fmt/core.h>

#include <string>

#include "allowlists/discover/lines.h"
#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view repository = "maven repository";
constexpr std::string_view mirror = "maven mirror";

bool is_repository(const Setting& setting, std::string_view root) {
  return setting.is_at({root, "repositories", "repository", "url"}) ||
         setting.is_at({root, "pluginRepositories", "pluginRepository", "url"}) ||
         setting.is_at({root, "profiles", "profile", "repositories", "repository", "url"}) ||
         setting.is_at(
             {root, "profiles", "profile", "pluginRepositories", "pluginRepository", "url"});
}

void read_maven_file(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Setting& setting : settings_of(scan, *file, read_xml(file->text))) {
    const Place place = file->at(setting.line);
    const std::string_view url = trimmed(setting.value);
    if (is_repository(setting, "project") || is_repository(setting, "settings")) {
      scan.findings.add_url(url, repository, place);
    } else if (setting.is_at({"settings", "mirrors", "mirror", "url"})) {
      // What Maven itself ships to block plain http (release notes of 3.8.1): no mirror at all.
      if (url.starts_with("http://0.0.0.0")) continue;
      scan.findings.add_url(url, mirror, place);
      scan.findings.replaces_default(Tool::maven);
    }
  }
}

}  // namespace

void read_maven_user(Scan& scan) {
  read_maven_file(scan, scan.files.home(".m2/settings.xml"));
  read_maven_file(scan, scan.files.system("/etc/maven/settings.xml"));
}

void read_maven_project(Scan& scan, const std::string& folder) {
  mark_used(scan, Tool::maven, folder + "pom.xml");
  for (const char* name : {"pom.xml", "settings.xml", ".mvn/settings.xml"}) {
    read_maven_file(scan, scan.files.project(folder + name));
  }
  for (const char* name :
       {"build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"}) {
    if (!scan.files.project_has(folder + name)) continue;
    scan.findings.note(
        fmt::format("gradle is used here ({}) and is not asked: its files are programs; their "
                    "'repositories' blocks name its hosts",
                    Place{folder + name}.to_string()));
    return;
  }
}

}  // namespace sluice::allowlists::discover
