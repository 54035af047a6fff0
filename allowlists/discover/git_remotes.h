// Knows the remotes of a repository and how url.<base>.insteadOf rewrites them.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/discover/findings.h"
#include "allowlists/discover/git_config.h"

namespace sluice::allowlists::discover {

class GitRemotes {
 public:
  // Whether a repository's file is asked about for the first time: includes may form a circle.
  bool is_new(const std::string& file) { return files_.insert(file).second; }
  // What one file says about remotes, submodules and rewriting; other entries are passed over.
  void add(const std::vector<GitEntry>& entries, const Place& file);
  // Every address that fetching or pushing would use. A rewriting rule that settles the host is
  // where that host comes from; any other leaves the place of the remote.
  void report(Findings& findings) const;

 private:
  struct Rewrite {
    std::string base;
    std::string prefix;  // what a URL must begin with
    bool is_push_only = false;
    Place place;
  };
  struct Remote {
    std::string name;
    std::string url;
    bool is_push = false;
    std::string_view tool;
    Place place;
  };

  const Rewrite* longest(std::string_view url, bool push_only) const;
  bool has_push_url(const Remote& remote) const;
  void report_as(Findings& findings, const Remote& remote, const Rewrite* rewrite) const;

  std::set<std::string> files_;
  std::vector<Rewrite> rewrites_;
  std::vector<Remote> remotes_;
};

}  // namespace sluice::allowlists::discover
