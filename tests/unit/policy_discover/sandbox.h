// A project, a home directory and a system of example files for the tests of this folder.
#pragma once

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/discover/discover.h"
#include "allowlists/discover/report.h"

namespace sluice::allowlists::discover {

class Sandbox {
 public:
  Sandbox() {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-discover-XXXXXX";
    base_ = ::mkdtemp(pattern.data());
    machine.home = path("home");
    machine.root = path("system");
    for (const char* folder : {"project", "home", "system"}) {
      std::filesystem::create_directories(path(folder));
    }
  }
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;
  ~Sandbox() { std::filesystem::remove_all(base_); }

  // "project/.npmrc", "home/.npmrc", "system/etc/npmrc"
  std::string path(const std::string& relative) const { return base_ / relative; }

  void write(const std::string& relative, std::string_view text) const {
    const std::filesystem::path file = path(relative);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
  }
  void link(const std::string& target, const std::string& relative) const {
    const std::filesystem::path file = path(relative);
    std::filesystem::create_directories(file.parent_path());
    std::filesystem::create_symlink(target, file);
  }

  Findings findings() const {
    const auto found = discover(path("project"), machine);
    if (found) return *found;
    ADD_FAILURE() << to_string(found.error());
    return {};
  }

  // "mirror.example.com:443 npm registry .npmrc:1 project", in the order found.
  std::vector<std::string> found() const {
    std::vector<std::string> lines;
    const Findings all = findings();
    for (const Finding& finding : all.found()) {
      const Remote& remote = finding.remote;
      lines.push_back(fmt::format("{}:{}{} {} {} {}", remote.host.to_string(), remote.port,
                                  remote.is_tls_off ? " off" : "", finding.tool,
                                  finding.place.to_string(),
                                  finding.place.trust == Trust::user ? "user" : "project"));
    }
    return lines;
  }

  // As an operator sees them, paths of this sandbox included.
  std::vector<std::string> warnings() const {
    std::vector<std::string> lines;
    for (const Error& error : complaints(findings())) lines.push_back(to_string(error));
    return lines;
  }

  // Everything that could reach a terminal or a file.
  std::string everything() const {
    const Findings all = findings();
    std::string text = to_yaml(all) + to_json(all);
    for (const Error& error : complaints(all)) text += to_string(error) + "\n";
    return text;
  }

  Machine machine;

 private:
  std::filesystem::path base_;
};

}  // namespace sluice::allowlists::discover
