#include "allowlists/discover/git_remotes.h"

#include <algorithm>

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view remote_tool = "git remote";
constexpr std::string_view submodule_tool = "git submodule";
constexpr std::string_view lfs_tool = "git lfs server";
// Each remote is compared with each rule.
constexpr std::size_t most_rewrites = 256;
constexpr std::size_t most_remotes = 1024;

}  // namespace

void GitRemotes::add(const std::vector<GitEntry>& entries, const Place& file) {
  for (const GitEntry& entry : entries) {
    const Place place{file.file, entry.line, file.trust};
    const bool is_push = entry.key == "pushinsteadof";
    if (entry.section == "url" && (is_push || entry.key == "insteadof")) {
      if (rewrites_.size() < most_rewrites) {
        rewrites_.push_back({entry.subsection, entry.value, is_push, place});
      }
      continue;
    }
    std::string_view tool;
    if (entry.section == "remote") tool = remote_tool;
    if (entry.section == "submodule") tool = submodule_tool;
    if (entry.section == "lfs") tool = lfs_tool;
    const bool is_url = entry.key == "url" || (entry.key == "pushurl" && tool == remote_tool);
    if (tool.empty() || !is_url || remotes_.size() >= most_remotes) continue;
    remotes_.push_back({entry.subsection, entry.value, entry.key == "pushurl", tool, place});
  }
}

// "When more than one insteadOf strings match a given URL, the longest match is used."
const GitRemotes::Rewrite* GitRemotes::longest(std::string_view url, bool push_only) const {
  const Rewrite* best = nullptr;
  for (const Rewrite& rewrite : rewrites_) {
    if (rewrite.is_push_only != push_only || !url.starts_with(rewrite.prefix)) continue;
    if (best == nullptr || rewrite.prefix.size() > best->prefix.size()) best = &rewrite;
  }
  return best;
}

bool GitRemotes::has_push_url(const Remote& remote) const {
  return std::any_of(remotes_.begin(), remotes_.end(), [&](const Remote& other) {
    return other.is_push && other.name == remote.name;
  });
}

void GitRemotes::report_as(Findings& findings, const Remote& remote, const Rewrite* rewrite) const {
  std::string url = remote.url;
  Place place = remote.place;
  if (rewrite != nullptr) {
    url = rewrite->base + url.substr(rewrite->prefix.size());
    // "https://mirror" in front of what a remote says could become any name: both have chosen it.
    if (settles_host(rewrite->base) || rewrite->place.trust == Trust::project) {
      place = rewrite->place;
    }
  }
  const auto address = parse_git_address(url);
  if (address) {
    findings.add(*address, remote.tool, place);
  } else {
    findings.refuse(address.error(), remote.tool, place);
  }
}

void GitRemotes::report(Findings& findings) const {
  for (const Remote& remote : remotes_) {
    report_as(findings, remote, longest(remote.url, false));
    if (remote.is_push || remote.tool != remote_tool || has_push_url(remote)) continue;
    const Rewrite* push = longest(remote.url, true);
    if (push != nullptr) report_as(findings, remote, push);
  }
}

}  // namespace sluice::allowlists::discover
