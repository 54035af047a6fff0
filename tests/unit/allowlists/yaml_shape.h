// A YAML tree as one line of text: =plain "quoted" ~ [list] {key: value}.
#pragma once

#include <string>

#include "allowlists/yaml_tree.h"
#include "base/strong.h"
#include "base/text.h"

namespace sluice::allowlists {

// Whether "@LINE:COLUMN" follows each node that has a text of its own.
using Places = YesNo<struct PlacesTag>;

inline std::string shape_of(const YamlValue& value, Places places) {
  if (value.kind() == YamlKind::null) return "~";
  std::string shape;
  if (value.kind() == YamlKind::scalar) {
    const std::string text = text::printable(value.text());
    shape = value.is_quoted() ? '"' + text + '"' : '=' + text;
  } else {
    const bool list = value.kind() == YamlKind::sequence;
    shape = list ? "[" : "{";
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i > 0) shape += !list && i % 2 == 1 ? ": " : ", ";
      shape += shape_of(value[i], places);
    }
    shape += list ? ']' : '}';
  }
  if (places == Places::no) return shape;
  return shape + '@' + std::to_string(value.line()) + ':' + std::to_string(value.column());
}

// The shape, or the error and its hint.
inline std::string shape_of(std::string text, Places places = Places::no) {
  const auto tree = YamlTree::parse({"p.yaml", std::move(text)});
  return tree ? shape_of(YamlValue(*tree), places) : to_string(tree.error());
}

}  // namespace sluice::allowlists
