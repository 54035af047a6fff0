// Collects what is wrong with policy files, each with its place and the next step.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "allowlists/yaml_tree.h"
#include "base/error.h"

namespace sluice::allowlists {

class Problems {
 public:
  // `source`: the number of the file, for the order.
  void add(std::size_t source, Error error);
  bool empty() const noexcept { return found_.empty(); }
  // By file, line and column; one for several uses of the same alias.
  std::vector<Error> take();

 private:
  // What is beyond is counted: a file of 50 MB can be wrong a million times.
  static constexpr std::size_t most = 1000;

  std::vector<std::pair<std::size_t, Error>> found_;
  std::size_t left_out_ = 0;
  std::pair<std::size_t, Error> first_left_out_;
};

// A key of a mapping with what stands behind it.
struct Field {
  YamlValue key;
  YamlValue value;
};

// Speaks about one file.
class Reporter {
 public:
  Reporter(const Source& source, std::size_t number, Problems& errors, Problems& warnings)
      : source_(source), number_(number), errors_(errors), warnings_(warnings) {}

  void error(const YamlValue& at, std::string what, std::string hint);
  void warning(const YamlValue& at, std::string what, std::string hint);
  Mark mark(const YamlValue& at) const { return {source_.name, at.line(), at.column()}; }
  const std::string& file() const noexcept { return source_.name; }
  std::size_t number() const noexcept { return number_; }

  // Whether `value`, called `name`, is a sequence or mapping; an error if not.
  bool expect(YamlKind kind, const Field& field, std::string_view hint);

  // The values of the keys of `known`, in its order. Keys that are unknown, not built yet, doubled
  // or not text are errors.
  std::vector<std::optional<Field>> fields(const YamlValue& mapping,
                                           std::span<const std::string_view> known);

 private:
  void unknown_key(const YamlValue& key, std::span<const std::string_view> known);

  const Source& source_;
  std::size_t number_;
  Problems& errors_;
  Problems& warnings_;
};

// 'value', printable and not longer than a line.
std::string quoted(std::string_view value);
// As quoted(), for a value of any kind: "a list", "a mapping", "nothing" where there is no text.
std::string shown(const YamlValue& value);

}  // namespace sluice::allowlists
