#include "launcher/protection/findings.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include "launcher/paths.h"
#include "launcher/trust.h"

namespace sluice::launcher {

std::string below(const std::string& folder, std::string_view name) {
  return folder + "/" + std::string(name);
}

bool Findings::is_ours(const std::string& path) const {
  return path != source_ && is_at_or_below(path, source_);
}

void Findings::add(const std::string& path, const ProtectedName& name) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) return add_all(path, name);
  insert(path, name, false);
}

void Findings::add_all(const std::string& path, const ProtectedName& name) {
  const std::vector<std::string> touched = touched_paths(path);
  for (std::size_t i = 1; i < touched.size(); ++i) {
    ProtectedName entry = name;
    if (i + 1 < touched.size()) entry.stand_in = StandIn::none;
    insert(touched[i], entry, false);
  }
}

void Findings::add_with_ways(const std::string& path, const ProtectedName& name) {
  add_all(path, name);
  std::string way = touched_paths(path).back();
  for (way.resize(way.rfind('/')); is_ours(way) && !identity_of(way); way.resize(way.rfind('/'))) {
    sight_.ways.insert(way);
  }
}

void Findings::watch(const std::string& path, std::string_view reason) {
  insert(path, {"", StandIn::none, reason}, true);
}

bool Findings::add_repository(const std::string& git, std::string_view reason) {
  if (is_repository(git)) return false;
  if (sight_.repositories.size() == most_repositories) {
    miss(fmt::format("it has more than {} repositories", most_repositories));
    return false;
  }
  sight_.repositories.emplace(git, reason);
  return true;
}

void Findings::miss(std::string why) {
  if (sight_.unseen.empty()) sight_.unseen = std::move(why);
}

FolderContent Findings::read(const std::string& folder) {
  FolderContent content = read_folder(folder);
  if (content.is_closed) miss(in_quotes(folder) + " is closed");
  return content;
}

void Findings::insert(const std::string& path, const ProtectedName& name, bool only_watched) {
  if (!is_ours(path)) return;
  const ProtectedPath found{name.reason, name.stand_in, fingerprint_of(path), only_watched};
  sight_.paths.emplace(path, found);
}

}  // namespace sluice::launcher
