#include "allowlists/tools/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <sstream>
#include <string>

#include "allowlists/language.h"
#include "allowlists/unbuilt_keys.h"

namespace sluice::allowlists {
namespace {

TEST(PolicySchema, IsWhatTheTreeShips) {
  std::ostringstream shipped;
  shipped << std::ifstream(SLUICE_SOURCE_DIR "/allowlists/schema.json").rdbuf();
  EXPECT_TRUE(shipped.str() == policy_schema())
      << "allowlists/schema.json is not what the tables of allowlists/language.h say; write it "
         "anew: sluice policy schema > allowlists/schema.json";
}

TEST(PolicySchema, NamesEveryWordOfTheLanguageWithWhatItMeans) {
  const auto schema = nlohmann::json::parse(policy_schema());
  const auto expect_words = [](const nlohmann::json& mapping, std::span<const Word> words) {
    EXPECT_EQ(mapping["additionalProperties"], false);
    EXPECT_EQ(mapping["properties"].size(), words.size());
    for (const Word& word : words) {
      EXPECT_EQ(mapping["properties"][std::string(word.key)]["description"], word.meaning);
    }
  };
  expect_words(schema, root_words);
  expect_words(schema["definitions"]["agent"], agent_words);
  expect_words(schema["definitions"]["allow_rule"], rule_words);
}

TEST(PolicySchema, LeavesOutOfDenyRulesWhatHasAMeaningOnlyUnderAllow) {
  const auto schema = nlohmann::json::parse(policy_schema());
  const nlohmann::json& properties = schema["definitions"]["deny_rule"]["properties"];
  EXPECT_TRUE(properties.contains("host"));
  EXPECT_FALSE(properties.contains("tls"));
  EXPECT_FALSE(properties.contains("ech"));
}

TEST(PolicyLanguage, HasNoWordTwiceAndNoneThatIsNotBuiltYet) {
  const auto expect_apart = [](std::span<const Word> words) {
    std::set<std::string_view> seen;
    for (const Word& word : words) {
      EXPECT_TRUE(seen.insert(word.key).second) << word.key;
      EXPECT_EQ(find_unbuilt(word.key), nullptr) << word.key;
    }
  };
  expect_apart(root_words);
  expect_apart(agent_words);
  expect_apart(rule_words);
}

}  // namespace
}  // namespace sluice::allowlists
