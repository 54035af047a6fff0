#include "allowlists/discover/git_config.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sluice::allowlists::discover {
namespace {

std::string shown(std::string_view text) {
  const auto entries = read_git_config(text);
  if (!entries) return fmt::format("{}: {}\n", entries.error().line, entries.error().what);
  std::string lines;
  for (const GitEntry& entry : *entries) {
    lines += fmt::format("{}: {}|{}|{}|{}\n", entry.line, entry.section, entry.subsection,
                         entry.key, entry.value);
  }
  return lines;
}

TEST(GitConfiguration, SectionsSubsectionsAndKeysAreReadAsGitReadsThem) {
  EXPECT_EQ(shown("# first\n[Core]\n\tBare\n[remote \"Or\\\"i\\\\gin\"] URL = a.test:x ; end\n"
                  "[url.Base]\ninsteadOf=b # c\n"),
            "3: core||bare|\n4: remote|Or\"i\\gin|url|a.test:x\n6: url|base|insteadof|b\n");
}

TEST(GitConfiguration, QuotesEscapesAndContinuationsInValues) {
  EXPECT_EQ(shown("[a]\nx = \"one # two\" three  \ny = a\\\n  b\nz = \\\"q\\\" \\\\ \\t.\n"),
            "2: a||x|one # two three\n3: a||y|a  b\n5: a||z|\"q\" \\ \t.\n");
  EXPECT_EQ(shown("\xef\xbb\xbf[a]\r\nx = y\r\n[b]"), "2: a||x|y\n");
  EXPECT_EQ(shown("[a]\nx ="), "2: a||x|\n");
  EXPECT_EQ(shown(""), "");
}

TEST(GitConfiguration, WhatGitRefusesIsRefusedWithItsLine) {
  for (const char* text : {"[a]\nx = \"open\n", "[a]\nx = \\q\n", "[a\nx = y\n", "x = y\n",
                           "[a]\n!x\n", "[a \"b]\n", "[]\nx = y\n", "[a]\nx y\n"}) {
    EXPECT_THAT(shown(text).find("no git configuration"), testing::Lt(10u)) << text;
  }
  EXPECT_EQ(shown("[a]\n\n!\n"), "3: no git configuration\n");
}

}  // namespace
}  // namespace sluice::allowlists::discover
