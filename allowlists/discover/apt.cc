// apt: sources.list(5) in both of its formats.
#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "allowlists/discover/lines.h"
#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view source = "apt source";

// A list of mirrors: a URI a line, what stands behind a blank is about it
// (apt-transport-mirror(1)).
void read_mirror_list(Scan& scan, std::string_view path) {
  const auto file = scan.files.system(path);
  if (!file) return;
  for (const Line& line : split_lines(file->text)) {
    const auto words = words_of(line.text);
    if (words.empty() || words.front().starts_with('#')) continue;
    scan.findings.add_url(words.front(), source, file->at(line.number));
  }
}

void add_source(Scan& scan, std::string_view uri, const Place& place) {
  for (const std::string_view local : {"cdrom:", "file:", "copy:"}) {
    if (uri.starts_with(local)) return;
  }
  if (uri.starts_with("mirror+file:")) {
    // A list named in a file that an agent can write could be any file.
    uri.remove_prefix(std::string_view("mirror+file:").size());
    if (uri.starts_with("//")) uri.remove_prefix(2);
    if (place.trust == Trust::user) read_mirror_list(scan, uri);
    return;
  }
  const bool is_mirror = uri.starts_with("mirror:") || uri.starts_with("mirror+");
  if (is_mirror) {
    scan.findings.warn(place, "the mirrors behind this apt source are listed on its server",
                       "add a rule for each host that the list names");
  }
  // apt-transport-mirror(1): mirror:// is http.
  constexpr std::string_view plain = "mirror://";
  if (uri.starts_with(plain)) {
    scan.findings.add_url("http://" + std::string(uri.substr(plain.size())), source, place);
  } else {
    scan.findings.add_url(uri, source, place);
  }
}

// deb [option=value …] URI SUITE COMPONENT…
void read_one_line_style(Scan& scan, const TextFile& file) {
  for (const Line& line : split_lines(file.text)) {
    std::string_view text = trimmed(std::string_view(line.text).substr(0, line.text.find('#')));
    if (!text.starts_with("deb ") && !text.starts_with("deb\t") && !text.starts_with("deb-src"))
      continue;
    text = trimmed(text.substr(std::min(text.find_first_of(" \t"), text.size())));
    if (text.starts_with('[')) {
      const std::size_t end = text.find(']');
      if (end == std::string_view::npos) continue;
      text = trimmed(text.substr(end + 1));
    }
    const auto words = words_of(text);
    if (!words.empty()) add_source(scan, words.front(), file.at(line.number));
  }
}

// Paragraphs of "Field: value", blank lines between them, values that go on in indented lines.
class Paragraphs {
 public:
  explicit Paragraphs(Scan& scan) : scan_(scan) {}

  void read(const TextFile& file) {
    for (const Line& line : split_lines(file.text)) read_line(file, line);
    finish();
  }

 private:
  void read_line(const TextFile& file, const Line& line) {
    if (line.text.starts_with('#')) return;
    if (trimmed(line.text).empty()) return finish();
    std::string_view value = line.text;
    if (line.text.front() != ' ' && line.text.front() != '\t') {
      const std::size_t colon = std::min(line.text.find(':'), line.text.size());
      field_ = lowered(trimmed(value.substr(0, colon)));
      value = value.substr(std::min(colon + 1, value.size()));
    }
    const std::string word = lowered(trimmed(value));
    if (field_ == "enabled") enabled_ = word != "no" && word != "false";
    if (field_ != "uris") return;
    for (const std::string_view uri : words_of(value)) {
      uris_.push_back({{}, std::string(uri), line.number});
    }
    file_ = &file;
  }

  void finish() {
    for (const Setting& uri : uris_) {
      if (enabled_) add_source(scan_, uri.value, file_->at(uri.line));
    }
    uris_.clear();
    field_.clear();
    enabled_ = true;
  }

  Scan& scan_;
  const TextFile* file_ = nullptr;
  std::string field_;
  Settings uris_;
  bool enabled_ = true;
};

}  // namespace

void read_apt(Scan& scan) {
  constexpr std::string_view folder = "/etc/apt/sources.list.d";
  if (const auto file = scan.files.system("/etc/apt/sources.list"))
    read_one_line_style(scan, *file);
  const std::string path = scan.files.system_path(folder);
  for (const std::string& name : scan.files.names_in(path, "", ".list")) {
    if (const auto file = scan.files.user(fmt::format("{}/{}", path, name)))
      read_one_line_style(scan, *file);
  }
  for (const std::string& name : scan.files.names_in(path, "", ".sources")) {
    if (const auto file = scan.files.user(fmt::format("{}/{}", path, name)))
      Paragraphs(scan).read(*file);
  }
}

}  // namespace sluice::allowlists::discover
