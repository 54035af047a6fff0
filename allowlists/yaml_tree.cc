#include "allowlists/yaml_tree.h"

#include <fmt/core.h>
#include <yaml.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <utility>

#include "allowlists/reporter.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

// The parser compares each %TAG line with all before it.
constexpr std::size_t max_tag_directives = 16;
constexpr std::size_t max_anchors = 100'000;

Error located(const Source& source, std::size_t line, std::size_t column) {
  const Mark mark{source.name, static_cast<int>(line) + 1, static_cast<int>(column) + 1};
  return {Errc::bad_config, {}, {}, mark};
}

Error problem(Error error, std::string what, std::string hint) {
  error.what = std::move(what);
  error.hint = std::move(hint);
  return error;
}

// Columns count characters, as the parser's do.
Error at_byte(const Source& source, std::string_view text, std::size_t position) {
  const std::string_view before = text.substr(0, position);
  const std::string_view line = before.substr(before.rfind('\n') + 1);  // npos + 1 is 0
  const auto begins_character = [](char c) { return (c & 0xc0) != 0x80; };
  return located(
      source, static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')),
      static_cast<std::size_t>(std::count_if(line.begin(), line.end(), begins_character)));
}

struct Character {
  std::size_t size = 1;
  std::string fault;  // a phrase; "" if it may stand in a policy
  std::string_view hint = "save the file as UTF-8 text";
};

// Those with the Unicode property Bidi_Control. An editor shows what stands around one in another
// order, so that a reviewer reads another rule than the one that acts (CVE-2021-42574).
std::string bidi_control(std::string_view character) {
  struct Control {
    std::string_view bytes;
    std::string_view name;
  };
  constexpr std::array controls = {
      Control{"\u061c", "U+061C"}, Control{"\u200e", "U+200E"}, Control{"\u200f", "U+200F"},
      Control{"\u202a", "U+202A"}, Control{"\u202b", "U+202B"}, Control{"\u202c", "U+202C"},
      Control{"\u202d", "U+202D"}, Control{"\u202e", "U+202E"}, Control{"\u2066", "U+2066"},
      Control{"\u2067", "U+2067"}, Control{"\u2068", "U+2068"}, Control{"\u2069", "U+2069"},
  };
  const auto found = std::find_if(controls.begin(), controls.end(),
                                  [&](const Control& one) { return one.bytes == character; });
  if (found == controls.end()) return {};
  return fmt::format("text direction control {}, which nobody sees", found->name);
}

// Some YAML readers, and no editor, end a line at U+0085, U+2028, U+2029 or a lone carriage return:
// what looks like a comment could hold a rule.
Character character_at(std::string_view rest) {
  const auto byte = static_cast<std::uint8_t>(rest.front());
  if (rest.starts_with("\r\n")) return {2, ""};
  if (byte == '\r') return {.fault = "a carriage return without a line feed"};
  if (byte < 0x80) return {.fault = fmt::format("control character 0x{:02x}", byte)};
  const std::size_t size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
  const std::string_view character = rest.substr(0, size);
  if (text::valid_utf8_prefix(character) != size) {
    return {.fault = fmt::format("byte 0x{:02x} is not UTF-8", byte)};
  }
  const auto second = static_cast<std::uint8_t>(rest[1]);
  if (byte == 0xc2 && second < 0xa0) return {2, fmt::format("control character 0x{:02x}", second)};
  if (character == "\u2028") return {size, "line separator U+2028"};
  if (character == "\u2029") return {size, "line separator U+2029"};
  if (character == byte_order_mark) return {size, "a byte order mark inside of the text"};
  if (character == "\xef\xbf\xbe" || character == "\xef\xbf\xbf") return {size, "a noncharacter"};
  return {size, bidi_control(character), "remove it: what is shown around it may not be what acts"};
}

constexpr bool is_printable_ascii(char c) {
  return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\t';
}

std::optional<Error> bad_characters(const Source& source, std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (is_printable_ascii(text[at])) {
      ++at;
      continue;
    }
    Character character = character_at(text.substr(at));
    if (!character.fault.empty()) {
      return problem(at_byte(source, text, at), std::move(character.fault),
                     std::string(character.hint));
    }
    at += character.size;
  }
  return {};
}

std::optional<Error> too_many_tag_directives(const Source& source, std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find("%TAG"); at != text.npos; at = text.find("%TAG", at + 1)) {
    const bool begins_line = at == 0 || text[at - 1] == '\n';
    if (!begins_line || ++count <= max_tag_directives) continue;
    return problem(at_byte(source, text, at),
                   fmt::format("more than {} tag directives", max_tag_directives), "remove them");
  }
  return {};
}

// libyaml's events, one at a time, so that whoever refuses one has read no further.
class Events {
 public:
  explicit Events(std::string_view text) {
    initialized_ = ::yaml_parser_initialize(&parser_) == 1;
    if (!initialized_) return;
    ::yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    ::yaml_parser_set_input_string(&parser_, reinterpret_cast<const std::uint8_t*>(text.data()),
                                   text.size());
  }
  ~Events() {
    ::yaml_event_delete(&event_);
    if (initialized_) ::yaml_parser_delete(&parser_);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  // The next one, until next() is called again; null where the text is not valid YAML.
  const yaml_event_t* next() {
    ::yaml_event_delete(&event_);
    return initialized_ && ::yaml_parser_parse(&parser_, &event_) == 1 ? &event_ : nullptr;
  }

  // After next() was null.
  Error error(const Source& source, std::string_view text) const {
    if (!initialized_ || parser_.error == YAML_MEMORY_ERROR) {
      return problem(located(source, 0, 0), "not enough memory to read it", "split the policy");
    }
    const std::string_view context = parser_.context == nullptr ? "" : parser_.context;
    std::string what =
        fmt::format("not valid YAML: {}{}{}", parser_.problem, context.empty() ? "" : " ", context);
    if (!context.empty() && parser_.context_mark.line < parser_.problem_mark.line) {
      what += fmt::format(", from line {}", parser_.context_mark.line + 1);
    }
    return problem(place(source, text), std::move(what),
                   "look at the indentation, quotes and brackets here and on the line before");
  }

 private:
  Error place(const Source& source, std::string_view text) const {
    const yaml_mark_t& mark = parser_.problem_mark;
    if (parser_.error == YAML_READER_ERROR) {  // which has no mark
      return at_byte(source, text, std::min(parser_.problem_offset, text.size()));
    }
    // libyaml's end of the text is a line of its own.
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    return mark.line > lines ? at_byte(source, text, text.size())
                             : located(source, mark.line, mark.column);
  }

  yaml_parser_t parser_{};
  yaml_event_t event_{};
  bool initialized_ = false;
};

std::string_view view(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

bool is_null(std::string_view plain) {
  return plain.empty() || plain == "~" || plain == "null" || plain == "Null" || plain == "NULL";
}

}  // namespace

class YamlBuilder {
 public:
  explicit YamlBuilder(const Source& source) : source_(source) {}

  // False once the document cannot be taken: then error() says why.
  bool on(const yaml_event_t& event) {
    switch (event.type) {
      case YAML_SCALAR_EVENT:
        return on_scalar(event);
      case YAML_SEQUENCE_START_EVENT:
        return open(YamlKind::sequence, event, event.data.sequence_start.anchor,
                    event.data.sequence_start.tag);
      case YAML_MAPPING_START_EVENT:
        return open(YamlKind::mapping, event, event.data.mapping_start.anchor,
                    event.data.mapping_start.tag);
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT:
        return close();
      case YAML_ALIAS_EVENT:
        return on_alias(event);
      case YAML_DOCUMENT_START_EVENT:
        return ++documents_ == 1 ||
               refuse(event, "a second YAML document in one file", "put it into a file of its own");
      default:
        return true;
    }
  }

  YamlTree take() { return std::move(tree_); }
  Error error() { return std::move(error_); }
  bool is_empty() const {
    return tree_.nodes_.empty() || tree_.nodes_.front().kind == YamlKind::null;
  }

 private:
  static constexpr std::uint32_t no_anchor = 0xffffffff;

  struct Anchored {
    std::uint32_t node = 0;
    std::size_t weight = 0;  // nodes in it; 0 while it is open
  };
  struct Open {
    std::uint32_t node = 0;
    std::uint32_t anchor = no_anchor;
    std::size_t first_pending = 0;
    std::size_t counted_before = 0;
  };

  bool refuse(const yaml_event_t& at, std::string what, std::string hint) {
    error_ = problem(located(source_, at.start_mark.line, at.start_mark.column), std::move(what),
                     std::move(hint));
    return false;
  }

  bool on_scalar(const yaml_event_t& event) {
    const auto& scalar = event.data.scalar;
    const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
    const bool quoted = scalar.style != YAML_PLAIN_SCALAR_STYLE;
    const bool null = !quoted && is_null(text);
    if (!add(null ? YamlKind::null : YamlKind::scalar, event, scalar.anchor, scalar.tag)) {
      return false;
    }
    if (null) return true;
    YamlTree::Node& node = tree_.nodes_.back();
    node.quoted = quoted;
    node.first = static_cast<std::uint32_t>(tree_.text_.size());
    node.size = static_cast<std::uint32_t>(text.size());
    tree_.text_ += text;
    return true;
  }

  bool on_alias(const yaml_event_t& event) {
    const std::string name(view(event.data.alias.anchor));
    const auto found = anchor_of_.find(name);
    if (found == anchor_of_.end()) {
      return refuse(event, fmt::format("alias {} stands for nothing", quoted("*" + name)),
                    "mark what it stands for, further up, with '&' and this name");
    }
    const Anchored& target = anchors_[found->second];
    if (target.weight == 0) {
      return refuse(event, "an alias inside of what it stands for", "write it out");
    }
    pending_.push_back(target.node);
    return count(event, target.weight);
  }

  bool count(const yaml_event_t& event, std::size_t weight) {
    counted_ += weight;
    return counted_ <= YamlTree::max_nodes ||
           refuse(event, fmt::format("more than {} values, aliases counted", YamlTree::max_nodes),
                  "split the policy, or use fewer aliases");
  }

  bool add(YamlKind kind, const yaml_event_t& event, const yaml_char_t* anchor,
           const yaml_char_t* tag) {
    if (tag != nullptr) {
      return refuse(event, fmt::format("tag {} has no meaning here", quoted(view(tag))),
                    "remove the tag");
    }
    if (!count(event, 1)) return false;
    const auto id = static_cast<std::uint32_t>(tree_.nodes_.size());
    tree_.nodes_.push_back({.kind = kind,
                            .line = static_cast<int>(event.start_mark.line) + 1,
                            .column = static_cast<int>(event.start_mark.column) + 1});
    pending_.push_back(id);
    if (anchor == nullptr) return true;
    if (anchors_.size() == max_anchors) {
      return refuse(event, fmt::format("more than {} anchors", max_anchors), "use fewer aliases");
    }
    anchor_of_[std::string(view(anchor))] = static_cast<std::uint32_t>(anchors_.size());
    anchors_.push_back({id, 1});
    return true;
  }

  bool open(YamlKind kind, const yaml_event_t& event, const yaml_char_t* anchor,
            const yaml_char_t* tag) {
    if (open_.size() == YamlTree::max_depth) {
      return refuse(event, fmt::format("nested deeper than {} levels", YamlTree::max_depth),
                    "a policy needs seven");
    }
    const std::size_t counted_before = counted_;
    if (!add(kind, event, anchor, tag)) return false;
    Open opened{static_cast<std::uint32_t>(tree_.nodes_.size() - 1), no_anchor, pending_.size(),
                counted_before};
    if (anchor != nullptr) {
      opened.anchor = static_cast<std::uint32_t>(anchors_.size() - 1);
      anchors_.back().weight = 0;
    }
    open_.push_back(opened);
    return true;
  }

  bool close() {
    const Open done = open_.back();
    open_.pop_back();
    YamlTree::Node& node = tree_.nodes_[done.node];
    node.first = static_cast<std::uint32_t>(tree_.children_.size());
    node.size = static_cast<std::uint32_t>(pending_.size() - done.first_pending);
    const auto first = pending_.begin() + static_cast<std::ptrdiff_t>(done.first_pending);
    tree_.children_.insert(tree_.children_.end(), first, pending_.end());
    pending_.erase(first, pending_.end());
    if (done.anchor != no_anchor) anchors_[done.anchor].weight = counted_ - done.counted_before;
    return true;
  }

  const Source& source_;
  YamlTree tree_;
  Error error_;
  int documents_ = 0;
  std::vector<std::uint32_t> pending_;  // children of the open containers, innermost last
  std::vector<Open> open_;
  std::vector<Anchored> anchors_;
  std::unordered_map<std::string, std::uint32_t> anchor_of_;  // the last of that name
  std::size_t counted_ = 0;
};

Result<YamlTree> YamlTree::parse(const Source& source) {
  std::string_view text = source.text;
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  if (auto error = bad_characters(source, text)) return Failure(std::move(*error));
  if (auto error = too_many_tag_directives(source, text)) return Failure(std::move(*error));
  Events events(text);
  YamlBuilder builder(source);
  for (const yaml_event_t* event = events.next();; event = events.next()) {
    if (event == nullptr) return Failure(events.error(source, text));
    if (!builder.on(*event)) return Failure(builder.error());
    if (event->type == YAML_STREAM_END_EVENT) break;
  }
  if (builder.is_empty()) {
    return Failure(
        problem(located(source, 0, 0), "the policy is empty",
                "begin with 'version: 1'; rules that allow nothing are 'agents: {\"*\": {}}'"));
  }
  return builder.take();
}

}  // namespace sluice::allowlists
