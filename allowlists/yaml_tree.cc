#include "allowlists/yaml_tree.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "base/text.h"

namespace sluice::allowlists {
namespace {

// What the builder throws through the parser, which knows no other way to stop.
struct Refusal {
  YAML::Mark mark;
  std::string what;
  std::string hint;
};

Error located(const Source& source, int line, int column) {
  return {Errc::bad_config, {}, {}, Mark{source.name, line, column}};
}

Error at_mark(const Source& source, const YAML::Mark& mark) {
  return located(source, std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1);
}

Error at_byte(const Source& source, std::size_t position) {
  const std::string_view before = std::string_view(source.text).substr(0, position);
  const std::size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  return located(source, static_cast<int>(std::count(before.begin(), before.end(), '\n')) + 1,
                 static_cast<int>(position - line_begin) + 1);
}

constexpr bool is_forbidden_control(char c) {
  return (c >= 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

std::optional<Error> bad_bytes(const Source& source) {
  const auto control = std::find_if(source.text.begin(), source.text.end(), is_forbidden_control);
  const auto position = static_cast<std::size_t>(control - source.text.begin());
  const std::size_t valid = text::valid_utf8_prefix(source.text);
  if (valid == source.text.size() && control == source.text.end()) return {};
  Error error = at_byte(source, std::min(valid, position));
  error.hint = "save the file as UTF-8 text";
  error.what =
      valid < position
          ? fmt::format("byte 0x{:02x} is not UTF-8", static_cast<std::uint8_t>(source.text[valid]))
          : fmt::format("control character 0x{:02x}", static_cast<std::uint8_t>(*control));
  return error;
}

class OneDocumentOnly final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    throw Refusal{mark, "a second YAML document in one file", "put it into a file of its own"};
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

}  // namespace

class YamlBuilder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(YamlKind::null, mark, anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_tag(mark, tag);
    const std::uint32_t id = add(YamlKind::scalar, mark, anchor);
    YamlTree::Node& node = tree_.nodes_[id];
    node.quoted = tag == "!";  // yaml-cpp: "?" for plain, "!" for quoted
    node.first = static_cast<std::uint32_t>(tree_.text_.size());
    node.size = static_cast<std::uint32_t>(value.size());
    tree_.text_ += value;
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlKind::sequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlKind::mapping, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const Anchored& target = anchors_.at(anchor - 1);
    if (target.weight == 0) {
      throw Refusal{mark, "an alias inside of what it stands for", "write it out"};
    }
    count(mark, target.weight);
    pending_.push_back(target.node);
  }

  YamlTree take() { return std::move(tree_); }
  bool is_empty() const {
    return tree_.nodes_.empty() || tree_.nodes_.front().kind == YamlKind::null;
  }

 private:
  struct Anchored {
    std::uint32_t node = 0;
    std::size_t weight = 0;  // nodes in it; 0 while it is open
  };
  struct Open {
    std::uint32_t node = 0;
    std::size_t first_pending = 0;
    std::size_t counted_before = 0;
    YAML::anchor_t anchor = YAML::NullAnchor;
  };

  static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    throw Refusal{mark, fmt::format("tag '{}' has no meaning here", text::printable(tag)),
                  "remove the tag"};
  }

  void count(const YAML::Mark& mark, std::size_t weight) {
    counted_ += weight;
    if (counted_ <= YamlTree::max_nodes) return;
    throw Refusal{mark, fmt::format("more than {} values, aliases counted", YamlTree::max_nodes),
                  "split the policy, or use fewer aliases"};
  }

  std::uint32_t add(YamlKind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    count(mark, 1);
    const auto id = static_cast<std::uint32_t>(tree_.nodes_.size());
    tree_.nodes_.push_back({.kind = kind, .line = mark.line + 1, .column = mark.column + 1});
    pending_.push_back(id);
    if (anchor != YAML::NullAnchor) {  // yaml-cpp numbers them from 1
      anchors_.resize(std::max(anchors_.size(), anchor));
      anchors_[anchor - 1] = {id, 1};
    }
    return id;
  }

  void open(YamlKind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    if (open_.size() == YamlTree::max_depth) {
      throw Refusal{mark, fmt::format("nested deeper than {} levels", YamlTree::max_depth),
                    "a policy needs seven"};
    }
    const std::size_t counted_before = counted_;
    const std::uint32_t id = add(kind, mark, anchor);
    if (anchor != YAML::NullAnchor) anchors_[anchor - 1].weight = 0;
    open_.push_back({id, pending_.size(), counted_before, anchor});
  }

  void close() {
    const Open done = open_.back();
    open_.pop_back();
    YamlTree::Node& node = tree_.nodes_[done.node];
    node.first = static_cast<std::uint32_t>(tree_.children_.size());
    node.size = static_cast<std::uint32_t>(pending_.size() - done.first_pending);
    const auto first = pending_.begin() + static_cast<std::ptrdiff_t>(done.first_pending);
    tree_.children_.insert(tree_.children_.end(), first, pending_.end());
    pending_.erase(first, pending_.end());
    if (done.anchor != YAML::NullAnchor) {
      anchors_[done.anchor - 1].weight = counted_ - done.counted_before;
    }
  }

  YamlTree tree_;
  std::vector<std::uint32_t> pending_;  // children of the open containers, innermost last
  std::vector<Open> open_;
  std::vector<Anchored> anchors_;
  std::size_t counted_ = 0;
};

Result<YamlTree> YamlTree::parse(const Source& source) {
  if (auto error = bad_bytes(source)) return Failure(std::move(*error));
  try {
    std::istringstream bytes(source.text);
    YAML::Parser parser(bytes);
    YamlBuilder builder;
    if (!parser.HandleNextDocument(builder) || builder.is_empty()) {
      Error error = located(source, 1, 1);
      error.what = "the policy is empty";
      error.hint = "begin with 'version: 1'; rules that allow nothing are 'agents: {\"*\": {}}'";
      return Failure(std::move(error));
    }
    OneDocumentOnly nothing_more;
    parser.HandleNextDocument(nothing_more);
    return builder.take();
  } catch (const Refusal& refusal) {
    Error error = at_mark(source, refusal.mark);
    error.what = refusal.what;
    error.hint = refusal.hint;
    return Failure(std::move(error));
  } catch (const YAML::Exception& exception) {
    Error error = at_mark(source, exception.mark);
    error.what = fmt::format("not valid YAML: {}", text::printable(exception.msg));
    error.hint = "look at the indentation, quotes and brackets here and on the line before";
    return Failure(std::move(error));
  }
}

}  // namespace sluice::allowlists
