// Reads XML into paths of elements; the one file that knows the parser.
#include <algorithm>
#include <pugixml.hpp>
#include <string>
#include <utility>
#include <vector>

#include "allowlists/discover/settings.h"

namespace sluice::allowlists::discover {
namespace {

class LineNumbers {
 public:
  explicit LineNumbers(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') ends_.push_back(static_cast<std::ptrdiff_t>(i));
    }
  }
  int of(std::ptrdiff_t offset) const {
    const auto end = std::lower_bound(ends_.begin(), ends_.end(), offset);
    return static_cast<int>(end - ends_.begin()) + 1;
  }

 private:
  std::vector<std::ptrdiff_t> ends_;
};

class XmlFlattener {
 public:
  explicit XmlFlattener(std::string_view text) : lines_(text) {}

  bool add_children(const pugi::xml_node& parent) {
    for (const pugi::xml_node& node : parent.children()) {
      if (++visited_ > most_settings) return false;
      if (node.type() == pugi::node_pcdata || node.type() == pugi::node_cdata) {
        settings_.push_back({path_, node.value(), lines_.of(node.offset_debug())});
      } else if (node.type() == pugi::node_element && path_.size() < deepest_setting) {
        path_.emplace_back(node.name());
        if (!add_children(node)) return false;
        path_.pop_back();
      }
    }
    return true;
  }
  Settings take() { return std::move(settings_); }

 private:
  LineNumbers lines_;
  Settings settings_;
  std::vector<std::string> path_;
  std::size_t visited_ = 0;
};

}  // namespace

ReadSettings read_xml(const std::string& text) {
  pugi::xml_document document;
  // As UTF-8, so that offsets are the file's; a document type is passed over, nothing in it acts.
  const pugi::xml_parse_result result = document.load_buffer(
      text.data(), text.size(),
      pugi::parse_minimal | pugi::parse_escapes | pugi::parse_cdata | pugi::parse_trim_pcdata,
      pugi::encoding_utf8);
  if (!result) {
    const int line = LineNumbers(text).of(result.offset);
    return tl::unexpected(Unreadable{line, "no XML that can be read"});
  }
  XmlFlattener flattener(text);
  if (!flattener.add_children(document)) {
    return tl::unexpected(Unreadable{0, "more values than are looked at"});
  }
  return flattener.take();
}

}  // namespace sluice::allowlists::discover
