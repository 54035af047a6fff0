#include "allowlists/discover/lines.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>

namespace sluice::allowlists::discover {
namespace {

std::string shown(const Settings& settings) {
  std::string lines;
  for (const Setting& setting : settings) {
    lines += fmt::format("{}:", setting.line);
    for (const std::string& key : setting.path) lines += fmt::format(" [{}]", key);
    lines += fmt::format(" {}\n", setting.value);
  }
  return lines;
}

TEST(IniFiles, AnNpmrcHasCommentsQuotesAndLists) {
  EXPECT_EQ(
      shown(read_npmrc("; no\n# no\nregistry = https://a.test/ ; yes\n"
                       "\"@s:registry\"=\"https://b.test/#x\"\nca[] = one\nnothing\n[sec]\nx=y")),
      "3: [registry] https://a.test/\n4: [@s:registry] https://b.test/#x\n5: [ca] one\n"
      "8: [sec] [x] y\n");
}

TEST(IniFiles, APipConfigurationGoesOnInIndentedLines) {
  EXPECT_EQ(
      shown(read_python_ini("[global]\nExtra_Index_Url = https://a.test/x\n    https://b.test/\n"
                            "# no\n\thttps://c.test/\nindex-url: https://d.test/\n")),
      "2: [global] [extra-index-url] https://a.test/x\n"
      "3: [global] [extra-index-url] https://b.test/\n"
      "5: [global] [extra-index-url] https://c.test/\n"
      "6: [global] [index-url] https://d.test/\n");
}

TEST(IniFiles, LinesMayEndAsOnWindowsAndGoOnBehindABackslash) {
  const auto lines = join_continued(
      "\xef\xbb\xbf"
      "a \\\r\nb\r\nc\\");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].text, "a b");
  EXPECT_EQ(lines[1].text, "c");
  EXPECT_EQ(lines[1].number, 3);
  EXPECT_EQ(shown(read_key_values("# no\nGOPROXY=\"https://a.test,direct\"\r\nx\n")),
            "2: [GOPROXY] https://a.test,direct\n");
}

}  // namespace
}  // namespace sluice::allowlists::discover
