// go: where modules and their checksums come from.
#include "allowlists/discover/go.h"

#include <algorithm>
#include <string>

#include "allowlists/discover/lines.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view proxy = "go module proxy";
constexpr std::string_view checksums = "go checksum database";
constexpr std::string_view private_module = "go private module";
constexpr std::string_view module = "go module (only where GOPROXY says direct)";

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(separators), text.size());
    if (const auto part = trimmed(text.substr(0, end)); !part.empty()) parts.push_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

void add_proxies(Scan& scan, std::string_view list, const Place& place) {
  for (const std::string_view url : split(list, ",|")) {
    if (url != "direct" && url != "off") scan.findings.add_url(url, proxy, place);
  }
  scan.findings.replaces_default(Tool::go);
}

// "off", "NAME", "NAME+KEY" or "NAME+KEY URL" (go help module-auth)
void add_checksum_database(Scan& scan, std::string_view value, const Place& place) {
  const auto words = words_of(value);
  if (words.empty() || words.front() == "off") return;
  if (words.size() > 1) {
    scan.findings.add_url(words[1], checksums, place);
    return;
  }
  const std::string_view name = words.front().substr(0, words.front().find('+'));
  scan.findings.add_url("https://" + std::string(name), checksums, place);
}

// The host of "git.example.com/team/…": module paths of the standard library have no dot there.
std::string_view host_of_module(std::string_view path) {
  const std::string_view host = path.substr(0, path.find('/'));
  return host.find('.') == std::string_view::npos || host.starts_with('.') ? std::string_view()
                                                                           : host;
}

void add_private_modules(Scan& scan, std::string_view patterns, const Place& place) {
  for (const std::string_view pattern : split(patterns, ",")) {
    const std::string_view host = pattern.substr(0, pattern.find('/'));
    if (host.find_first_of("*?[") != std::string_view::npos) {
      scan.findings.warn(place, "private go modules come from hosts that a pattern names",
                         "write a rule for those of them that are needed");
    } else if (!host_of_module(host).empty()) {
      scan.findings.add_url("https://" + std::string(host), private_module, place);
    }
  }
}

void read_env_file(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Setting& setting : read_key_values(file->text)) {
    add_go_setting(scan, setting.path.back(), setting.value, file->at(setting.line));
  }
}

void add_module(Scan& scan, std::string_view path, const Place& place) {
  const std::string_view host = host_of_module(unquoted(path));
  if (!host.empty()) scan.findings.add_url("https://" + std::string(host), module, place);
}

// require and replace, on one line or in a block (go.mod reference).
void read_go_mod(Scan& scan, const TextFile& file) {
  std::string block;
  for (const Line& line : split_lines(file.text)) {
    std::string_view text = line.text;
    auto words = words_of(text.substr(0, text.find("//")));
    if (words.empty()) continue;
    if (words.front() == ")") {
      block.clear();
      continue;
    }
    if (words.size() > 1 && words[1] == "(") {
      block = words.front();
      continue;
    }
    std::string_view verb = block;
    if (block.empty()) {
      verb = words.front();
      words.erase(words.begin());
    }
    const auto arrow = std::find(words.begin(), words.end(), "=>");
    if (verb == "require" && !words.empty()) add_module(scan, words.front(), file.at(line.number));
    if (verb == "replace" && arrow != words.end() && arrow + 1 != words.end()) {
      add_module(scan, arrow[1], file.at(line.number));
    }
  }
}

}  // namespace

void add_go_setting(Scan& scan, std::string_view name, std::string_view value, const Place& place) {
  if (name == "GOPROXY" && !value.empty()) add_proxies(scan, value, place);
  if (name == "GOSUMDB") add_checksum_database(scan, value, place);
  if (name == "GOPRIVATE" || name == "GONOPROXY") add_private_modules(scan, value, place);
}

void read_go_user(Scan& scan) {
  for (const char* name : {"GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY"}) {
    add_go_setting(scan, name, scan.files.variable(name),
                   {std::string("$") + name, 0, Trust::user});
  }
  const std::string& go_env = scan.files.variable("GOENV");
  if (go_env == "off") return;
  read_env_file(scan, go_env.empty() ? scan.files.config("go/env") : scan.files.user(go_env));
}

void read_go_project(Scan& scan, const std::string& folder) {
  mark_used(scan, Tool::go, folder + "go.mod");
  if (const auto file = scan.files.project(folder + "go.mod")) read_go_mod(scan, *file);
  read_env_file(scan, scan.files.project(folder + "go.env"));
}

}  // namespace sluice::allowlists::discover
