#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/daemon/config.h"

namespace sluice::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Kind = Config::Peer::Kind;

auto parsed(std::string_view peers) {
  return parse_config(fmt::format("policy: p\nhandover:\n  peers:\n{}", peers), "etc/sluiced.yaml");
}

std::string errors_of(std::string_view peers) {
  const auto config = parsed(peers);
  std::string text;
  if (config) return text;
  for (const Error& error : config.error()) text += to_string(error) + '\n';
  return text;
}

TEST(ConfigPeers, AreUsersAndGroupsByNameOrNumberEachWithItsNames) {
  const auto config = parsed(R"(
    - {uid: 0, agents: ["*"]}
    - {user: root, agents: [one]}
    - {group: root, agents: ["${user}-*", "ci-${user}"]}
    - {gid: 1000, agents: ["lan.*"]}
)");
  ASSERT_TRUE(config) << to_string(config.error().front());
  const auto& peers = config->handover.peers.value();
  ASSERT_THAT(peers, SizeIs(4));
  const std::array kinds{Kind::user, Kind::user, Kind::group, Kind::group};
  for (std::size_t i = 0; i < kinds.size(); ++i) EXPECT_EQ(peers[i].kind, kinds[i]) << i;
  EXPECT_EQ(peers[0].id, 0U);
  EXPECT_EQ(peers[1].id, 0U);
  EXPECT_EQ(peers[2].id, 0U);
  EXPECT_EQ(peers[3].id, 1000U);
  EXPECT_THAT(peers[2].agents, ElementsAre("${user}-*", "ci-${user}"));
}

TEST(ConfigPeers, OfAnEmptyListAreNobody) {
  const auto config = parse_config("policy: p\nhandover: {peers: []}\n", "etc/sluiced.yaml");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->handover.peers.value(), IsEmpty());
}

TEST(ConfigPeers, AreRefusedWithTheirLineAndWhatToWrite) {
  const struct {
    std::string_view line;
    std::string_view error;
  } cases[] = {
      {"    - {agents: [a]}\n", "4:7: error: the line does not say whose peers it is for"},
      {"    - {uid: 1, gid: 1, agents: [a]}\n", "4:7: error: the line says more than once"},
      {"    - {uid: 1}\n", "4:7: error: the line gives no agent's name"},
      {"    - {uid: 1, agents: []}\n", "4:7: error: the line gives no agent's name"},
      {"    - {uid: -1, agents: [a]}\n", "4:13: error: '-1' is no uid"},
      {"    - {gid: 4294967295, agents: [a]}\n", "4:13: error: '4294967295' is no gid"},
      {"    - {user: no-such-user, agents: [a]}\n", "'no-such-user' is no user of this machine"},
      {"    - {group: no-such-group, agents: [a]}\n",
       "'no-such-group' is no group of this machine"},
      {"    - {uid: 1, agents: [\"$user\"]}\n", "'$user' is no agent's name"},
      {"    - {uid: 1, agents: [\"${home}-*\"]}\n", "'${home}-*' is no agent's name"},
      {"    - {uid: 1, agents: [\"a b\"]}\n", "'a b' is no agent's name"},
      {"    - {uid: 1, agents: [\"\"]}\n", "'' is no agent's name"},
      {"    - {uid: 1, agents: a}\n", "expected a list of agents"},
      {"    - {uid: 1, agent: a}\n", "unknown key 'handover.peers.agent'\nhint: did you mean"},
      {"    - {uid: 1, uid: 2, agents: [a]}\n", "'uid' is given twice"},
      {"    - root\n", "'handover.peers' is not a map"},
      {"    uid: 1\n", "expected a list of peers"},
  };
  for (const auto& [line, error] : cases) EXPECT_THAT(errors_of(line), HasSubstr(error)) << line;
}

TEST(ConfigPeers, AreBounded) {
  std::string lines;
  for (int i = 0; i < 257; ++i) lines += fmt::format("    - {{uid: {}, agents: [a]}}\n", i);
  EXPECT_THAT(errors_of(lines), HasSubstr("260:7: error: more than 256 lines"));
  std::string names = "a";
  for (int i = 0; i < 256; ++i) names += fmt::format(", a{}", i);
  EXPECT_THAT(errors_of(fmt::format("    - {{uid: 1, agents: [{}]}}\n", names)),
              HasSubstr("more than 256 names in one line"));
}

}  // namespace
}  // namespace sluice::proxy
