#include "proxy/session/synthetic_names.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sluice::proxy {
namespace {

TEST(SyntheticNames, GiveEachNameOneAddressThatLeadsBackToIt) {
  SyntheticNames names;
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "n" + std::to_string(i) + ".test";
    const auto given = names.give(name);
    ASSERT_TRUE(given && given->is_new);
    EXPECT_TRUE(seen.insert(given->index).second);
    EXPECT_EQ(names.find(given->index), name);
    EXPECT_EQ(names.give(name)->index, given->index);
    EXPECT_FALSE(names.give(name)->is_new);
  }
}

TEST(SyntheticNames, AreBounded) {
  SyntheticNames names;
  for (std::size_t i = 0; i < SyntheticNames::max_names; ++i) {
    ASSERT_TRUE(names.give("n" + std::to_string(i) + ".test"));
  }
  EXPECT_FALSE(names.give("one-more.test"));
  EXPECT_TRUE(names.give("n0.test")) << "an old name keeps its address";
}

TEST(SyntheticNames, OfAnEarlierLifeAreHonouredUnlessTheyContradictOneAnother) {
  SyntheticNames names;
  const netns::Binding one{"one.test", 7};
  const netns::Binding last{"last.test", 131070};
  ASSERT_TRUE(names.restore(std::vector{one, last}));
  EXPECT_EQ(names.find(7), "one.test");
  EXPECT_EQ(names.give("one.test")->index, 7U);
  EXPECT_EQ(names.give("new.test")->index, 1U) << "behind the last, from the beginning";
  for (const netns::Binding& bad :
       {netns::Binding{"two.test", 7}, {"one.test", 8}, {"x.test", 0}, {"y.test", 131071}}) {
    EXPECT_FALSE(names.restore(std::vector{bad})) << bad.name;
  }
}

TEST(SyntheticNames, OfTwoLivesDoNotBeginAtTheSameAddress) {
  std::set<std::uint32_t> first;
  for (int i = 0; i < 8; ++i) {
    SyntheticNames names;
    first.insert(names.give("a.test")->index);
  }
  EXPECT_GT(first.size(), 1U);
}

}  // namespace
}  // namespace sluice::proxy
