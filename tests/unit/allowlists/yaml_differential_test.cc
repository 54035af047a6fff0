// Two YAML parsers on the same documents: what a policy says must not hang on which one reads it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "allowlists/load.h"
#include "yaml_shape.h"

namespace sluice::allowlists {
namespace {

std::string other_shape(const YAML::Node& node) {
  const auto at = [&](std::string shape) {
    return shape + '@' + std::to_string(node.Mark().line + 1) + ':' +
           std::to_string(node.Mark().column + 1);
  };
  if (node.IsNull()) return "~";
  if (node.IsScalar()) {
    const std::string text = text::printable(node.Scalar());
    return at(node.Tag() == "!" ? '"' + text + '"' : '=' + text);
  }
  std::string inside;
  for (const auto& item : node) {
    if (!inside.empty()) inside += ", ";
    inside += node.IsMap() ? other_shape(item.first) + ": " + other_shape(item.second)
                           : other_shape(item);
  }
  return at(node.IsMap() ? '{' + inside + '}' : '[' + inside + ']');
}

std::string other_shape(const std::string& text) {
  try {
    return other_shape(YAML::Load(text));
  } catch (const YAML::Exception&) {
    return "refused";
  }
}

std::string our_shape(const std::string& text) {
  const auto tree = YamlTree::parse({"p.yaml", text});
  return tree ? shape_of(YamlValue(*tree), Places::yes) : "refused";
}

TEST(YamlParsers, AgreeOnWhatPoliciesLookLike) {
  const std::vector<std::string> documents = {
      "version: 1\nagents:\n  coder-1:\n    allow:\n      - host: a.test\n        ports: [443]\n",
      "# c\n---\nversion: 1\nnever: []\nagents: {'*': {}, \"a-*\": {deny: [{any: true}]}}\n...\n",
      "a: &x\n  - {host: '*.a.test', why: \"it's\"}\nb: *x\nc: [*x, *x]\n",
      "? a\n: b\n? [c, d]\n: {e: f}\n",
      "a: |\n  b\n   c\n\nd: >-\n  e\n  f\n\n\n  g\n# h\ni: |+2\n   j\n\n",
      "a: b c\n  d\n\n  e\nf: 'g\n  h'\ni: \"j\\\n  k\\n\"\n",
      "-\n  - a\n  -\n    - b\n- - c\n  - d: e\n    f:\n    - g\n",
      "a:   \t# c\n  b: c # d\n  e: f#g\n",
      "{a: b, \"c\": d, 'e':f, g : h, i}",
      "[a, b: c, {d: e}, [f], \"g\": h]",
      "a: ~\nb: null\nc:\nd: ''\ne: NULL\nf: nil\n",
      "a: 0x1f\nb: 1e3\nc: 2026-01-01\nd: yes\ne: 017\nf: .5\ng: 12:30:45\n",
      "a: http://x.test/?b=c&d=e#f\ng: x:y\nh: -i\nj: ?k\nl: :m\n",
      "<<: {a: b}\n<<: c\na: d\na: e\n",
      "a: \"\\x41\\u00e9\\t\\\"\\\\\\/\\e\\0\"\n",
      "a: b\r\nc:\r\n  - d\r\n",
      "\xef\xbb\xbf"
      "a: b\n",
      "%YAML 1.2\n---\na: b\n",
      "\"a: b\": c\n'd # e': f\n",
      "a: [\n  b, # c\n  d\n  ]\ne: {\n  f: g,\n  }\n",
  };
  for (const std::string& text : documents) {
    EXPECT_NE(our_shape(text), "refused") << text;
    EXPECT_EQ(our_shape(text), other_shape(text)) << text;
  }
}

// A document in a style of its own for each node.
class Writer {
 public:
  explicit Writer(std::uint32_t seed) : random_(seed) {}

  std::string document() {
    std::string text = below(4) == 0 ? "---\n" : "";
    return text + (below(2) == 0 ? block_mapping(0) : block_list(0));
  }

 private:
  std::size_t below(std::size_t end) { return random_() % end; }
  std::string one_of(const std::vector<std::string>& texts) { return texts[below(texts.size())]; }

  std::string scalar() {
    return one_of({"a", "a.test", "'*.b.test'", "\".c.test\"", "443", "~", "10.0.0.0/8", "'it''s'",
                   "\"q\\\"\\u00e9\\n\"", "x y", "true", "2001:db8::/32", "a#b", "-1", "''"});
  }
  std::string key() { return one_of({"a", "host", "\"b c\"", "'d'", "ports", "8080"}); }
  std::string comment() { return below(5) == 0 ? " # " + one_of({"c", "x: y", "'", "]"}) : ""; }

  std::string flow(std::size_t depth) {
    const std::size_t kind = depth > 3 ? 0 : below(4);
    if (kind < 2) return scalar();
    std::string inside;
    for (std::size_t i = below(4); i > 0; --i) {
      if (!inside.empty()) inside += below(6) == 0 ? ",\n            " : ", ";
      inside += (kind == 2 ? key() + ": " : "") + flow(depth + 1);
    }
    return kind == 2 ? '{' + inside + '}' : '[' + inside + ']';
  }

  // What stands behind "- " or "key:"; ends its line.
  std::string value(std::size_t indent) {
    const std::size_t kind = indent > 8 ? below(3) : below(7);
    const std::string inner(indent + 2, ' ');
    if (kind == 0) return comment() + '\n';
    if (kind == 1) return " |\n" + inner + "text\n" + inner + " more\n\n";
    if (kind == 2 || kind == 3) return ' ' + flow(0) + comment() + '\n';
    if (kind == 4) return " >-\n" + inner + "folded\n" + inner + "text\n";
    return comment() + '\n' + (kind == 5 ? block_mapping(indent + 2) : block_list(indent + 2));
  }
  std::string block_mapping(std::size_t indent) {
    std::string text;
    for (std::size_t i = 1 + below(3); i > 0; --i) {
      text += std::string(indent, ' ') + key() + ':' + value(indent);
    }
    return text;
  }
  std::string block_list(std::size_t indent) {
    std::string text;
    for (std::size_t i = 1 + below(3); i > 0; --i) {
      text += std::string(indent, ' ') + '-' + value(indent);
    }
    return text;
  }

  std::mt19937 random_;
};

TEST(YamlParsers, AgreeOnGeneratedDocuments) {
  Writer writer(20260103);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = writer.document();
    const std::string ours = our_shape(text);
    ASSERT_NE(ours, "refused") << text;
    ASSERT_EQ(ours, other_shape(text)) << text;
  }
}

TEST(YamlParsers, AgreeOnThePoliciesOfTheFuzzersCorpus) {
  int valid = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(SLUICE_SOURCE_DIR "/tests/fuzz/corpus/policy")) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const std::string ours = our_shape(text);
    if (ours == "refused") continue;  // the fuzzer's own test looks at those
    EXPECT_EQ(ours, other_shape(text)) << entry.path();
    ++valid;
  }
  EXPECT_GT(valid, 20);
}

TEST(YamlParsers, DisagreeWhereAPolicyHasNoUseForWhatOneOfThemReads) {
  struct Case {
    std::string text;
    std::string theirs;
  };
  const std::vector<Case> refused_by_us = {
      {"! a", "\"a\"@1:1"},                        // tags
      {"!x a", "=a@1:1"},                          //
      {"a: b # \u2028c", "{=a@1:1: =b@1:4}@1:1"},  // line ends of some readers only
      {"a: b # \u0085c", "{=a@1:1: =b@1:4}@1:1"},  //
      {"%YAML 1.3\n---\na", "=a@3:1"},             // a version that is not written yet
      {"%FOO\n---\na", "=a@3:1"},                  // a directive that nobody knows
      {"a\n---\nb", "=a@1:1"},                     // a second document
      {"{a, : b}", "{=a@1:2: ~, ~: =b@1:7}@1:1"},  // a key that is nothing
      {"[a: {b]: c}", "refused"},                  // crossed brackets
  };
  for (const auto& [text, theirs] : refused_by_us) {
    EXPECT_EQ(our_shape(text), "refused") << text;
    EXPECT_EQ(other_shape(text), theirs) << text;
  }
}

// In each of them our tree has a key that is nothing, which no mapping of a policy takes.
TEST(YamlParsers, ReadDifferentlyOnlyWhatNoPolicyTakes) {
  struct Case {
    std::string text;
    std::string ours;
    std::string theirs;
  };
  const std::vector<Case> cases = {
      {"{? : a}", "{~: =a@1:6}@1:1", "{{~: =a@1:6}@1:4: ~}@1:1"},
      {"? \n: a", "{~: =a@2:3}@1:1", "{{~: =a@2:3}@2:1: ~}@1:1"},
      {"{&a: b}", "{~: =b@1:6}@1:1", "{=b@1:2: ~}@1:1"},
      {"&a: b", "{~: =b@1:5}@1:1", "=b@1:1"},
      {"{a, ?: b}", "{=a@1:2: ~, ~: =b@1:8}@1:1", "refused"},
  };
  for (const auto& [text, ours, theirs] : cases) {
    EXPECT_EQ(our_shape(text), ours) << text;
    EXPECT_EQ(other_shape(text), theirs) << text;
    const std::vector<Source> policy = {{"p.yaml", "version: 1\nagents:\n  a:\n    " + text}};
    EXPECT_FALSE(load(policy)) << text;
  }
}

// Of what only our parser takes, nothing changes what a rule says.
TEST(YamlParsers, OnlyOneOfThemTakesQuestionMarksAndLineEndsInAFlowKey) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[(?i)]", "[=(?i)@1:2]@1:1"},
      {"{a?: b}", "{=a?@1:2: =b@1:6}@1:1"},
      {"{a\n  b}", "{=a b@1:2: ~}@1:1"},
  };
  for (const auto& [text, ours] : cases) {
    EXPECT_EQ(our_shape(text), ours) << text;
    EXPECT_EQ(other_shape(text), "refused") << text;
  }
}

// Columns: ours count characters, theirs count bytes.
TEST(YamlParsers, CountColumnsDifferently) {
  EXPECT_EQ(our_shape("{\u00e9: a}"), "{=\u00e9@1:2: =a@1:5}@1:1");
  EXPECT_EQ(other_shape("{\u00e9: a}"), "{=\u00e9@1:2: =a@1:6}@1:1");
}

}  // namespace
}  // namespace sluice::allowlists
