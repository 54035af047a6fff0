#include "allowlists/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "yaml_shape.h"

namespace sluice::allowlists {
namespace {

using testing::StartsWith;

struct Case {
  std::string text;
  std::string expected;
};

std::string repeated(std::string_view text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

// "version: 1" and the like stand for themselves: nothing is made a number, a date or a boolean.
TEST(YamlTree, KeepsEveryScalarAsItsText) {
  const std::vector<Case> cases = {
      {"a", "=a"},
      {"yes", "=yes"},
      {"0443", "=0443"},
      {"1_000:30", "=1_000:30"},
      {"2001:db8::1", "=2001:db8::1"},
      {".inf", "=.inf"},
      {"'off'", "\"off\""},
      {"\"off\"", "\"off\""},
      {"'it''s'", "\"it's\""},
      {R"("\x41\u00e9\U0001f600\"\\\/")", "\"A\u00e9\U0001f600\"\\\\/\""},
      {R"("\0")", R"("\x00")"},
      {"a b  c", "=a b  c"},
      {"a\n  b\n\n  c", "=a b\\x0ac"},
      {"|\n  a\n   b\n", R"("a\x0a b\x0a")"},
      {">-\n  a\n  b\n", "\"a b\""},
      {"a#b", "=a#b"},
      {"http://a.test/?q", "=http://a.test/?q"},
      {"'~'", "\"~\""},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(shape_of(text), expected) << text;
}

TEST(YamlTree, ReadsNothingAsNull) {
  for (const char* null : {"~", "null", "Null", "NULL", ""}) {
    EXPECT_EQ(shape_of("a: " + std::string(null)), "{=a: ~}") << null;
    EXPECT_EQ(shape_of("[x, {y: " + std::string(null) + "}]"), "[=x, {=y: ~}]") << null;
  }
  EXPECT_EQ(shape_of("{a, ? b, c: }"), "{=a: ~, =b: ~, =c: ~}");
  EXPECT_EQ(shape_of("- \n-"), "[~, ~]");
  EXPECT_EQ(shape_of("a: nULL"), "{=a: =nULL}");
}

TEST(YamlTree, KnowsThePlaceOfEveryNode) {
  const std::vector<Case> cases = {
      {"a: b", "{=a@1:1: =b@1:4}@1:1"},
      {"\n# c\n  a:\n    - b\n    - {c: 'd'}\n",
       "{=a@3:3: [=b@4:7, {=c@5:8: \"d\"@5:11}@5:7]@4:5}@3:3"},
      {"a:\n- b\n", "{=a@1:1: [=b@2:3]@2:1}@1:1"},
      {"a: &x [b]\nc: *x\n", "{=a@1:1: [=b@1:8]@1:4, =c@2:1: [=b@1:8]@1:4}@1:1"},
      {"a: |\n  x\nb: c", "{=a@1:1: \"x\\x0a\"@1:4, =b@3:1: =c@3:4}@1:1"},
      {"\"\u00e9\u00e9\": b", "{\"\u00e9\u00e9\"@1:1: =b@1:7}@1:1"},
      {"a: b\r\nc:\t d\r\n", "{=a@1:1: =b@1:4, =c@2:1: =d@2:5}@1:1"},
      {"\xef\xbb\xbf"
       "a: b",
       "{=a@1:1: =b@1:4}@1:1"},
      {"--- a\n...\n# the end\n", "=a@1:5"},
      {"%YAML 1.2\n---\na", "=a@3:1"},
      {"? a\n: b\n", "{=a@1:3: =b@2:3}@1:1"},
      {"[a: b]", "[{=a@1:2: =b@1:5}@1:2]@1:1"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(shape_of(text, Places::yes), expected) << text;
  }
}

TEST(YamlTree, MakesNothingOfMergeKeysAndKeepsDoubledOnes) {
  EXPECT_EQ(shape_of("a: &x {b: c}\nd: {<<: *x, b: e, b: f}\n"),
            "{=a: {=b: =c}, =d: {=<<: {=b: =c}, =b: =e, =b: =f}}");
}

TEST(YamlTree, AnAnchorMayBeMovedAndAliasesMayBeKeys) {
  EXPECT_EQ(shape_of("[&a x, *a, &a y, *a, {*a : *a}]"), "[=x, =x, =y, =y, {=y: =y}]");
  EXPECT_EQ(shape_of("&a [&a x, *a]"), "[=x, =x]");
}

TEST(YamlTree, RefusesWhatIsNotYamlWithItsPlace) {
  const std::string hint =
      "\nhint: look at the indentation, quotes and brackets here and on the line before";
  const std::vector<Case> cases = {
      {"a: b: c", "1:5: error: not valid YAML: mapping values are not allowed in this context"},
      {"a:\n\tb: c",
       "2:1: error: not valid YAML: found character that cannot start any token "
       "while scanning for the next token"},
      {"a: [b",
       "1:6: error: not valid YAML: did not find expected ',' or ']' while parsing a flow "
       "sequence, from line 1"},
      {"a: 'b",
       "1:6: error: not valid YAML: found unexpected end of stream while scanning a "
       "quoted scalar"},
      {"a: \"\\q\"",
       "1:5: error: not valid YAML: found unknown escape character while parsing a "
       "quoted scalar"},
      {"a: @b",
       "1:4: error: not valid YAML: found character that cannot start any token while "
       "scanning for the next token"},
      {"- a\nb: c",
       "2:1: error: not valid YAML: did not find expected '-' indicator while parsing a "
       "block collection, from line 1"},
      {"- a\nb",
       "2:2: error: not valid YAML: could not find expected ':' while scanning a simple key, "
       "from line 2"},
      {"a: {b\nc: [\n",
       "2:2: error: not valid YAML: did not find expected ',' or '}' while parsing a flow mapping, "
       "from line 1"},
      {"%YAML 1.3\n---\na", "1:1: error: not valid YAML: found incompatible YAML document"},
      {"%FOO\n---\na",
       "1:5: error: not valid YAML: found unknown directive name while scanning a "
       "directive"},
      {"&a &b c", "1:4: error: not valid YAML: did not find expected <document start>"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(shape_of(text), "p.yaml:" + expected + hint) << text;
  }
}

TEST(YamlTree, RefusesWhatAPolicyHasNoUseFor) {
  const std::vector<Case> cases = {
      {"a: !!int 1",
       "1:4: error: tag 'tag:yaml.org,2002:int' has no meaning here\nhint: remove the tag"},
      {"a: !x [1]", "1:4: error: tag '!x' has no meaning here\nhint: remove the tag"},
      {"! a", "1:1: error: tag '!' has no meaning here\nhint: remove the tag"},
      {"!<\x1b> a", "1:3: error: control character 0x1b\nhint: save the file as UTF-8 text"},
      {"a\n--- b\n",
       "2:1: error: a second YAML document in one file\nhint: put it into a file of its own"},
      {"a\n...\n---\n",
       "3:1: error: a second YAML document in one file\nhint: put it into a file of its own"},
      {"[a, *b]",
       "1:5: error: alias '*b' stands for nothing\nhint: mark what it stands for, further "
       "up, with '&' and this name"},
      {"- &a [b, {c: *a}]",
       "1:14: error: an alias inside of what it stands for\nhint: write it out"},
      {"# nothing",
       "1:1: error: the policy is empty\nhint: begin with 'version: 1'; rules that "
       "allow nothing are 'agents: {\"*\": {}}'"},
      {repeated("%TAG ! !x\n", 17), "17:1: error: more than 16 tag directives\nhint: remove them"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(shape_of(text), "p.yaml:" + expected) << text;
  }
}

// A comment must end where an editor ends it: a line that only the parser sees could hold a rule.
TEST(YamlTree, RefusesCharactersThatEndLinesForSomeReadersOnly) {
  const std::vector<Case> cases = {
      {"a: b # c\rd: e", "1:9: error: a carriage return without a line feed"},
      {"a: b\r", "1:5: error: a carriage return without a line feed"},
      {"a: b #\u00e9\u0085d: e", "1:8: error: control character 0x85"},
      {"# \u2028d: e", "1:3: error: line separator U+2028"},
      {"# \u2029d: e", "1:3: error: line separator U+2029"},
      {"a: b\n\x0c"
       "c: d",
       "2:1: error: control character 0x0c"},
      {"a: b\n\x0b"
       "c: d",
       "2:1: error: control character 0x0b"},
      {"a: \x7f", "1:4: error: control character 0x7f"},
      {"a: \x1b[2J", "1:4: error: control character 0x1b"},
      {std::string("a: \0b", 5), "1:4: error: control character 0x00"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(shape_of(text), "p.yaml:" + expected + "\nhint: save the file as UTF-8 text") << text;
  }
  EXPECT_EQ(shape_of(R"("\N\L\P\r")"), R"("\u{85}\u{2028}\u{2029}\x0d")");
}

TEST(YamlTree, RefusesInvisibleCharactersThatTurnTheDirectionOfText) {
  const std::vector<Case> cases = {
      {"# \u061c", "1:3: error: text direction control U+061C"},
      {"a: b # \u200e", "1:8: error: text direction control U+200E"},
      {"\"\u200f\": b", "1:2: error: text direction control U+200F"},
      {"a: [\u202ab]", "1:5: error: text direction control U+202A"},
      {"a: b\n# c\n#\u202b", "3:2: error: text direction control U+202B"},
      {"# \u202c", "1:3: error: text direction control U+202C"},
      {"# \u202d", "1:3: error: text direction control U+202D"},
      {"# \u00fc\u202e deny", "1:4: error: text direction control U+202E"},
      {"# \u2066", "1:3: error: text direction control U+2066"},
      {"# \u2067", "1:3: error: text direction control U+2067"},
      {"# \u2068", "1:3: error: text direction control U+2068"},
      {"# \u2069", "1:3: error: text direction control U+2069"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(shape_of(text),
              "p.yaml:" + expected +
                  ", which nobody sees\nhint: remove it: what is shown around it may not be what "
                  "acts")
        << text;
  }
}

TEST(YamlTree, TakesRightToLeftLettersAndCharactersOfNoWidth) {
  EXPECT_EQ(shape_of("# \u05d0\u0627 \u200b\u200c\u200d\u2060\na: b"), shape_of("a: b"));
}

TEST(YamlTree, RefusesWhatIsNotUtf8) {
  const std::vector<Case> cases = {
      {"a: \xff", "1:4: error: byte 0xff is not UTF-8"},
      {"a: \xc3\xa9\xa9", "1:5: error: byte 0xa9 is not UTF-8"},
      {"a: \xe2\x82", "1:4: error: byte 0xe2 is not UTF-8"},
      {"a: \xc0\xaf", "1:4: error: byte 0xc0 is not UTF-8"},
      {"a: \xed\xa0\x80", "1:4: error: byte 0xed is not UTF-8"},
      {"a: \xf4\x90\x80\x80", "1:4: error: byte 0xf4 is not UTF-8"},
      {"\xef\xbb\xbf\xef\xbb\xbf", "1:1: error: a byte order mark inside of the text"},
      {"a: \xef\xbf\xbf", "1:4: error: a noncharacter"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(shape_of(text), "p.yaml:" + expected + "\nhint: save the file as UTF-8 text") << text;
  }
}

TEST(YamlTree, IsNestedAtMost32Levels) {
  EXPECT_THAT(shape_of(repeated("[", 32) + repeated("]", 32)), StartsWith("[[["));
  const std::vector<Case> deep = {{repeated("[", 33) + repeated("]", 33), "1:33"},
                                  {repeated("[", 1'000'000), "1:33"},
                                  {repeated("{", 1'000'000), "1:33"},
                                  {repeated("[\n", 500'000), "33:1"},
                                  {repeated("{a: ", 250'000), "1:129"},
                                  {repeated("- ", 500'000), "1:65"},
                                  {repeated("? ", 500'000), "1:65"}};
  for (const auto& [text, place] : deep) {
    EXPECT_EQ(shape_of(text), "p.yaml:" + place +
                                  ": error: nested deeper than 32 levels\n"
                                  "hint: a policy needs seven")
        << text.substr(0, 10);
  }
}

TEST(YamlTree, HasAtMostFourMillionValuesWithAliasesCounted) {
  std::string laughs = "- &a0 [x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = ", *a" + std::to_string(i - 1);
    laughs += "- &a" + std::to_string(i) + " [" + repeated(last, 10).substr(2) + "]\n";
  }
  const std::string hint = "\nhint: split the policy, or use fewer aliases";
  EXPECT_EQ(shape_of(laughs),
            "p.yaml:8:8: error: more than 4000000 values, aliases counted" + hint);
  EXPECT_EQ(shape_of(repeated("- \n", 4'000'000)),
            "p.yaml:4000000:2: error: more than 4000000 values, aliases counted" + hint);
  std::string anchors;
  for (int i = 0; i <= 100'000; ++i) anchors += "- &a" + std::to_string(i) + "\n";
  EXPECT_EQ(shape_of(anchors),
            "p.yaml:100001:3: error: more than 100000 anchors\nhint: use fewer aliases");
}

TEST(YamlTree, ReadsLongScalarsWhole) {
  const std::string text(10'000'000, 'a');
  const auto tree = YamlTree::parse({"p.yaml", "[" + text + ", \"" + text + "\"]"});
  ASSERT_TRUE(tree);
  EXPECT_TRUE(YamlValue(*tree)[0].text() == text);
  EXPECT_TRUE(YamlValue(*tree)[1].text() == text);
}

}  // namespace
}  // namespace sluice::allowlists
