#include "base/text.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text {
namespace {

using namespace std::string_literals;

TEST(Printable, ShowsWhatWouldSteerATerminal) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"plain text", "plain text"},
      {"caf\u00e9 \u4f8b", "caf\u00e9 \u4f8b"},
      {"a\\b", "a\\\\b"},
      {"\x1b[2J", "\\x1b[2J"},
      {"a\nb\rc\td", "a\\x0ab\\x0dc\\x09d"},
      {"a\0b"s, "a\\x00b"},
      {"\x7f", "\\x7f"},
      {"\u009b2J", "\\u{9b}2J"},
      {"\u202eevil\u2066", "\\u{202e}evil\\u{2066}"},
      {"a\u200bb\u2060\u00ad\U000e0041", "a\\u{200b}b\\u{2060}\\u{ad}\\u{e0041}"},
      {"\u2028\ufeff\u200e", "\\u{2028}\\u{feff}\\u{200e}"},
      {"\xff\xc0\x80", "\\xff\\xc0\\x80"},
      {"\xe2\x82", "\\xe2\\x82"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
  };
  for (const auto& [untrusted, shown] : cases) EXPECT_EQ(printable(untrusted), shown);
}

TEST(Json, KeepsAStringInsideItsQuotes) {
  std::string out = "\"";
  append_json(out, "a\"b\\c\nd\x7f\u0085\u202e\xff\u00e9\0"s);
  EXPECT_EQ(out, "\"a\\\"b\\\\c\\u000ad\\u007f\\u0085\\u202e\\ufffd\u00e9\\u0000");
}

TEST(Utf8, IsValidUpToTheFirstBadSequence) {
  const std::vector<std::pair<std::string, std::size_t>> cases = {
      {"", 0},          {"abc", 3},      {"\u00e9\u4f8b\U0001f600", 9}, {"ab\xff", 2},
      {"ab\xc3", 2},    {"\xc0\xaf", 0}, {"a\xe0\x80\xaf", 1},          {"\xed\xbf\xbf", 0},
      {"\u00e9\x80", 2}};
  for (const auto& [bytes, valid] : cases) EXPECT_EQ(valid_utf8_prefix(bytes), valid);
}

TEST(Nearest, SuggestsOnlyWhatIsNear) {
  constexpr std::array<std::string_view, 3> known = {"allow", "deny", "ports"};
  EXPECT_EQ(nearest("alow", known), "allow");
  EXPECT_EQ(nearest("port", known), "ports");
  EXPECT_EQ(nearest("Deny", known), "deny");
  EXPECT_EQ(nearest("something", known), "");
}

TEST(EditDistance, CountsInsertionsDeletionsAndChanges) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("flaw", "lawn"), 2U);
}

}  // namespace
}  // namespace sluice::text
