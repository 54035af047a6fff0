#include "allowlists/discover/settings.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>

namespace sluice::allowlists::discover {
namespace {

std::string shown(const ReadSettings& settings) {
  if (!settings) return fmt::format("{}: {}", settings.error().line, settings.error().what);
  std::string lines;
  for (const Setting& setting : *settings) {
    lines += fmt::format("{}:", setting.line);
    for (const std::string& key : setting.path) lines += " " + key;
    lines += fmt::format(" = {}\n", setting.value);
  }
  return lines;
}

std::string repeated(std::string_view text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

TEST(ConfigurationFormats, TomlTextsAreFoundByTheirPathAndLine) {
  EXPECT_EQ(shown(read_toml(
                "[[s]]\nurl = 'a'\n[r.\"x.y\"]\nindex=\"b\"\nn = 1\n[t]\nl = ['c', ['d']]\n")),
            "4: r x.y index = b\n2: s [] url = a\n7: t l [] = c\n7: t l [] [] = d\n");
  EXPECT_EQ(shown(read_toml("a = 1\nb = [secret\n")), "2: no TOML that can be read");
}

TEST(ConfigurationFormats, XmlTextsAreFoundByTheirElementsAndLine) {
  EXPECT_EQ(shown(read_xml("<?xml version='1.0'?>\n<a>\n<!-- x -->\n<b>one</b>\n"
                           "<b><![CDATA[two]]> </b>\n</a>")),
            "4: a b = one\n5: a b = two\n");
  EXPECT_EQ(shown(read_xml("<a>\n<b>secret</c>\n</a>")), "2: no XML that can be read");
}

TEST(ConfigurationFormats, XmlEntitiesOfADocumentTypeMeanNothing) {
  EXPECT_EQ(
      shown(read_xml("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/hostname'>]><a>&x;&amp;</a>")),
      "1: a = &x;&\n");
}

TEST(ConfigurationFormats, YamlTextsAreFoundByTheirKeys) {
  EXPECT_EQ(shown(read_yaml("a: b\nc:\n  d: [e, {f: g}]\n")),
            "1: a = b\n3: c d [] = e\n3: c d [] f = g\n");
  EXPECT_EQ(shown(read_yaml("a: b\n\tsecret: ]\n")), "2: no YAML that can be read");
  EXPECT_EQ(shown(read_yaml("")), "");
}

TEST(ConfigurationFormats, HostileDepthIsAnErrorNotACrash) {
  constexpr int many = 300'000;
  EXPECT_EQ(shown(read_toml("a = " + repeated("[", many))), "1: no TOML that can be read");
  EXPECT_EQ(shown(read_toml("a = " + repeated("{b=", many))), "1: no TOML that can be read");
  EXPECT_EQ(shown(read_toml(repeated("a.", many) + "a = 1")), "0: a key of more than 32 parts");
  EXPECT_EQ(shown(read_toml("[" + repeated("'a' . ", many) + "a]")),
            "0: a key of more than 32 parts");
  EXPECT_EQ(shown(read_toml(repeated("\"\\\"\".", many) + "a = 1")),
            "0: a key of more than 32 parts");
  EXPECT_EQ(shown(read_xml(repeated("<a>", many))), fmt::format("1: no XML that can be read"));
  EXPECT_EQ(shown(read_xml(repeated("<a>", many) + "x" + repeated("</a>", many))), "");
  EXPECT_EQ(shown(read_yaml(repeated("[", many))), "1: no YAML that can be read");
}

TEST(ConfigurationFormats, TheDeepestTomlThatPassesIsFreedAgain) {
  // Each value may hold 32 others, each of them behind a key of 32 parts.
  const std::string key = repeated("a.", 31) + "a";
  std::string text = "[" + key + "]\n" + key + " = ";
  for (int i = 0; i < 30; ++i) text += "{" + key + " = ";
  text += "1" + repeated("}", 30) + "\n";
  EXPECT_EQ(shown(read_toml(text)), "");
}

TEST(ConfigurationFormats, FilesWithTooMuchInThemAreRefusedWhole) {
  EXPECT_EQ(shown(read_toml("a = [" + repeated("'',", 200'000) + "]")),
            "0: more values than are looked at");
  EXPECT_EQ(shown(read_xml("<a>" + repeated("<b/>", 200'000) + "</a>")),
            "0: more values than are looked at");
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 6; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i) + repeated(fmt::format("*a{},", i - 1), 9) + "]\n";
  }
  EXPECT_EQ(shown(read_yaml(bomb)), "0: more values than are looked at");
}

}  // namespace
}  // namespace sluice::allowlists::discover
