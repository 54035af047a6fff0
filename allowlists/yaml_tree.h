// Reads YAML into a bounded tree whose every node knows its place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"
#include "base/error.h"

namespace sluice::allowlists {

enum class YamlKind : std::uint8_t { null, scalar, sequence, mapping };

class YamlTree {
 public:
  static constexpr std::size_t max_nodes = 4'000'000;  // aliases count as often as they are used
  static constexpr std::size_t max_depth = 32;

  // One document; bytes that are not UTF-8, control characters, tags, a second document, and more
  // than the limits are errors with their place.
  static Result<YamlTree> parse(const Source& source);

  struct Node {
    YamlKind kind = YamlKind::null;
    bool quoted = false;
    int line = 0;  // from 1
    int column = 0;
    std::uint32_t first = 0;  // of the text, or of the children
    std::uint32_t size = 0;   // bytes of text, or number of children
  };

 private:
  friend class YamlBuilder;
  friend class YamlValue;
  std::vector<Node> nodes_;  // the first is the root
  std::vector<std::uint32_t> children_;
  std::string text_;
};

// A node of a tree that outlives it.
class YamlValue {
 public:
  explicit YamlValue(const YamlTree& tree, std::uint32_t node = 0) : tree_(&tree), node_(node) {}

  YamlKind kind() const { return node().kind; }
  bool is_quoted() const { return node().quoted; }
  int line() const { return node().line; }
  int column() const { return node().column; }
  // For a scalar.
  std::string_view text() const {
    return std::string_view(tree_->text_).substr(node().first, node().size);
  }
  // For a sequence: its items. For a mapping: key, value, key, value …
  std::size_t size() const { return node().size; }
  YamlValue operator[](std::size_t index) const {
    return YamlValue(*tree_, tree_->children_[node().first + index]);
  }

 private:
  const YamlTree::Node& node() const { return tree_->nodes_[node_]; }
  const YamlTree* tree_;
  std::uint32_t node_;
};

}  // namespace sluice::allowlists
