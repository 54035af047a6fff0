#include "allowlists/agent_pattern.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "allowlists/policy.h"

namespace sluice::allowlists {
namespace {

TEST(AgentName, IsShortAndPlain) {
  for (const std::string& name :
       std::vector<std::string>{"a", "7", "coder-1", "A.b_c-d", std::string(63, 'a')}) {
    EXPECT_TRUE(is_agent_name(name)) << name;
  }
  for (const std::string& name :
       std::vector<std::string>{"", "-a", ".a", "_a", "a b", "a/b", "a*", "\u00e9",
                                std::string(64, 'a'), "a\n", std::string("a\0", 2)}) {
    EXPECT_FALSE(is_agent_name(name)) << name;
  }
}

TEST(AgentGlob, HasOnlyStars) {
  for (const char* glob : {"*", "coder-*", "*-1", "a*b*c"}) EXPECT_TRUE(is_agent_glob(glob));
  for (const char* glob : {"", "coder", "a?*", "[ab]*", "-*", "a *", "a/*"}) {
    EXPECT_FALSE(is_agent_glob(glob)) << glob;
  }
}

TEST(AgentGlob, AStarStandsForAnyText) {
  EXPECT_TRUE(glob_matches("*", "a"));
  EXPECT_TRUE(glob_matches("coder-*", "coder-"));
  EXPECT_TRUE(glob_matches("coder-*", "coder-1"));
  EXPECT_FALSE(glob_matches("coder-*", "coder"));
  EXPECT_TRUE(glob_matches("*-*-x", "a-b-c-x"));
  EXPECT_FALSE(glob_matches("*-x", "a-xy"));
  EXPECT_TRUE(glob_matches("a*b*c", "abbbcbc"));
  EXPECT_FALSE(glob_matches("a*b", "ba"));
}

// All texts of up to five letters of {a, b} against all patterns of up to four of {a, b, *}.
TEST(AgentGlob, OverlapsWhereSomeTextFitsBoth) {
  const auto words = [](const std::string& letters, std::size_t longest) {
    std::vector<std::string> all = {""};
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].size() == longest) continue;
      for (const char letter : letters) all.push_back(all[i] + letter);
    }
    return all;
  };
  const auto texts = words("ab", 6);
  const auto globs = words("ab*", 3);
  for (const std::string& a : globs) {
    for (const std::string& b : globs) {
      bool expected = false;
      for (const std::string& text : texts) {
        expected = expected || (glob_matches(a, text) && glob_matches(b, text));
      }
      EXPECT_EQ(globs_overlap(a, b), expected) << a << ' ' << b;
    }
  }
}

}  // namespace
}  // namespace sluice::allowlists
