// What every part of the configuration file is read with: each reader fills its field, or adds an
// error with its place.
#pragma once

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/daemon/config.h"

namespace sluice::proxy {

// "192.0.2.1:53", "[2001:db8::1]:53"; without a port only where there is a `default_port`.
std::optional<Endpoint> parse_endpoint(std::string_view text,
                                       std::optional<std::uint16_t> default_port);
// Digits only, all of them.
std::optional<std::uint64_t> parse_number(std::string_view digits, int base = 10);

class ConfigReader {
 public:
  using Node = YAML::Node;
  struct Field {
    std::string_view key;
    std::function<void(const Node&)> read;
  };
  using Fields = std::vector<Field>;
  struct Range {
    unsigned least = 0;
    unsigned most = 0;
  };

  // `path` names the file in errors; relative paths in it begin in its directory.
  explicit ConfigReader(const std::string& path)
      : file_(path), folder_(std::filesystem::path(path).parent_path()) {}

  // A map whose keys are all in `fields`. `name` is the section as a person writes it, "" for the
  // whole file.
  void section(const Node& node, std::string_view name, const Fields& fields);
  // A list, each of whose items `read` reads. `expected`: "a list of name servers".
  void list(const Node& node, std::string_view expected, std::string hint,
            const std::function<void(const Node&)>& read);
  std::optional<std::string> scalar(const Node& node, std::string_view expected);
  void path(const Node& node, std::string& out);
  // The path of a Unix socket.
  void socket(const Node& node, std::string& out);
  // Longer than 0.
  void duration(const Node& node, std::chrono::milliseconds& out);
  void count(const Node& node, unsigned& out, Range range);

  void error(const YAML::Mark& place, std::string what, std::string hint);
  // "'VALUE' WHAT".
  void wrong(const Node& node, std::string_view what, std::string hint);
  // What the file may say, and an operator should know of.
  void warning(const YAML::Mark& place, std::string what, std::string hint);
  // All so far, in file order.
  Errors take_errors();
  Errors take_warnings();

 private:
  void entry(const Node& key, const Node& value, std::string_view section, const Fields& fields);
  Mark mark(const YAML::Mark& place) const {
    return {file_, std::max(place.line, 0) + 1, std::max(place.column, 0) + 1};
  }

  const std::string file_;
  const std::filesystem::path folder_;
  Errors errors_;
  Errors warnings_;
};

// The parts of the file that are read elsewhere than in config.cc.
void read_listen(ConfigReader& reader, const YAML::Node& node, std::vector<Config::Listener>& out);
void read_peers(ConfigReader& reader, const YAML::Node& node,
                std::optional<std::vector<Config::Peer>>& out);
void read_upstream_proxy(ConfigReader& reader, const YAML::Node& node,
                         std::optional<Config::UpstreamProxy>& out);
void read_egress(ConfigReader& reader, const YAML::Node& node, std::vector<Config::Egress>& out);

}  // namespace sluice::proxy
