#include "launcher/plan/writable_audit.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/plan/refusals.h"

namespace sluice::launcher {
namespace {

constexpr int levels = 3;
constexpr std::size_t most_named = 5;

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string name_some(const std::vector<std::string>& paths) {
  std::string text;
  for (std::size_t i = 0; i < paths.size() && i < most_named; ++i)
    text += fmt::format("{}'{}'", i == 0 ? "" : ", ", text::printable(paths[i]));
  if (paths.size() > most_named) text += fmt::format(" and {} more", paths.size() - most_named);
  return text;
}

void add_env_files(const std::string& directory, const TopLevels& found, EnvFiles& files) {
  files.is_whole &= found.is_whole;
  for (const TopEntry& entry : found.entries) {
    if (!is_env_file(name_of(entry.path))) continue;
    const std::string path = absolute(directory + "/" + entry.path);
    if (entry.kind == TopEntry::Kind::file) files.paths.push_back(path);
    if (entry.kind != TopEntry::Kind::link) continue;
    // An agent of an earlier run may have made the link: it is not to choose what is hidden.
    const auto real = real_path(path);
    struct stat status {};
    const bool is_near = real && is_at_or_below(*real, directory) &&
                         ::lstat(real->c_str(), &status) == 0 && S_ISREG(status.st_mode);
    if (is_near) files.paths.push_back(*real);
  }
}

std::string parent(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

void add_notice_of_fifos(const RunRequest& request, const Bind& bind,
                         std::vector<std::string>& notices) {
  if (bind.access != Access::read_write || bind.found.fifos.empty()) return;
  notices.push_back(
      fmt::format("{} holds FIFOs, by which the agent can talk with whoever opens them: {}",
                  name_of_writable(request, bind), name_some(bind.found.fifos)));
}

}  // namespace

TopLevels look_at_writable(const std::string& directory) {
  return look_at_top_levels(directory, levels);
}

Remarkable remarkable_in(const TopLevels& looked_at) {
  Remarkable found;
  for (const TopEntry& entry : looked_at.entries) {
    using Kind = TopEntry::Kind;
    if (entry.kind == Kind::fifo) found.fifos.push_back(entry.path);
    if (entry.depth > 0) continue;
    if (entry.kind == Kind::socket && found.socket.empty()) found.socket = entry.path;
    if (entry.kind == Kind::device && found.device.empty()) found.device = entry.path;
  }
  return found;
}

bool is_env_file(std::string_view name) {
  if (name == ".env") return true;
  if (!name.starts_with(".env.")) return false;
  return !name.ends_with(".example") && !name.ends_with(".sample") && !name.ends_with(".template");
}

EnvFiles find_env_files(const std::string& workspace, const TopLevels& in_workspace) {
  EnvFiles files;
  add_env_files(workspace, in_workspace, files);
  for (std::string above = workspace; above != "/";) {
    above = parent(above);
    add_env_files(above, look_at_top_levels(above, 1), files);
  }
  std::sort(files.paths.begin(), files.paths.end());
  files.paths.erase(std::unique(files.paths.begin(), files.paths.end()), files.paths.end());
  return files;
}

std::vector<std::string> writable_notices(const RunRequest& request, const Plan& plan) {
  std::vector<std::string> notices;
  for (const Bind& bind : all_binds(request)) add_notice_of_fifos(request, bind, notices);
  std::vector<std::string> hidden;
  for (const std::string& path : request.env_files.paths) {
    const bool is_hidden =
        std::find(plan.masks.begin(), plan.masks.end(), path) != plan.masks.end();
    if (is_hidden) hidden.push_back(path);
  }
  if (!hidden.empty()) {
    notices.push_back(
        fmt::format("empty for the agent: {} (--bind FILE shows one)", name_some(hidden)));
  }
  if (!request.env_files.is_whole) {
    notices.push_back(
        "the workspace or a directory above it is so large that .env files may have been "
        "overlooked: --mask FILE hides one");
  }
  return notices;
}

}  // namespace sluice::launcher
