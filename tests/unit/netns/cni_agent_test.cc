#include "netns/containers/cni_agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "netns/named/state.h"

namespace sluice::netns {
namespace {

using testing::StartsWith;

CniRequest request(const std::string& config, std::map<std::string, std::string> arguments = {}) {
  CniRequest made;
  made.config = nlohmann::json::parse(config);
  made.arguments = std::move(arguments);
  made.attachment = {"container-7", "eth0"};
  return made;
}

std::string agent(const CniRequest& made) {
  const auto name = agent_of(made);
  return name ? *name : name.error().what;
}

TEST(CniAgent, IsNamedByThePod) {
  const std::map<std::string, std::string> pod{{"K8S_POD_NAMESPACE", "web"},
                                               {"K8S_POD_NAME", "shop-0"}};
  EXPECT_EQ(agent(request("{}", pod)), "web.shop-0");
  EXPECT_EQ(agent(request("{}")), "container-7");
}

TEST(CniAgent, TakesANameThatTheRuntimeGives) {
  std::map<std::string, std::string> arguments{{"K8S_POD_NAMESPACE", "web"},
                                               {"K8S_POD_NAME", "shop-0"}};
  const char* const annotated =
      R"({"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"dev.sluice.agent":"coder-1"}}})";
  EXPECT_EQ(agent(request(annotated, arguments)), "coder-1");
  EXPECT_EQ(agent(request(R"({"runtimeConfig":{"dev.sluice.agent":"coder-2"}})", arguments)),
            "coder-2");
  EXPECT_EQ(agent(request(R"({"args":{"cni":{"agent":"coder-3"}}})", arguments)), "coder-3");
  arguments["SLUICE_AGENT"] = "coder-4";
  EXPECT_EQ(agent(request(R"({"args":{"cni":{"agent":"coder-3"}}})", arguments)), "coder-4");
}

TEST(CniAgent, RefusesAGivenNameThatIsNone) {
  for (const char* const name : {"", "-a", "a b", "a/b", "\\u001b[2J"}) {
    const auto made =
        agent_of(request(R"({"args":{"cni":{"agent":")" + std::string(name) + "\"}}}"));
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.error().code, CniError::invalid_config);
    EXPECT_EQ(made.error().what.find('\x1b'), std::string::npos);
  }
  EXPECT_FALSE(agent_of(request(R"({"args":{"cni":{"agent":7}}})")));
}

TEST(CniAgent, OfALongOrStrangePodHasAHashThatNoOtherPodCanBeCalled) {
  const std::string long_name(200, 'a');
  const std::vector<std::pair<std::string, std::string>> pods{
      {"web", long_name},  {"web", long_name + "b"},
      {"WEB", "shop"},     {"web", "Shop"},
      {"web", "shop_0"},   {"web", "shöp"},
      {"we.b", "x"},       {"we", "b.x/"},
      {"", "shop"},        {"web", ""},
      {".", "."},          {"web\n", "shop"},
      {long_name, "shop"}, {"web", "shop\x1b"}};
  std::set<std::string> names;
  for (const auto& [pod_namespace, pod] : pods) {
    const std::string name = agent_of_pod(pod_namespace, pod);
    EXPECT_TRUE(is_valid_name(name)) << name;
    EXPECT_NE(name.find('_'), std::string::npos) << name;
    EXPECT_EQ(name, agent_of_pod(pod_namespace, pod));
    names.insert(name);
  }
  EXPECT_EQ(names.size(), pods.size());
  EXPECT_THAT(agent_of_pod("web", long_name), StartsWith("web.aaaa"));
}

TEST(CniAgent, OfAPodWhoseNameFitsExactlyIsNotHashed) {
  EXPECT_EQ(agent_of_pod("web", std::string(59, 'a')), "web." + std::string(59, 'a'));
  EXPECT_EQ(agent_of_pod("web", std::string(60, 'a')).size(), 63U);
}

TEST(CniAgent, OfAContainerWithALongIdBeginsLikeIt) {
  const std::string id = "0123456789abcdef" + std::string(48, 'f');
  EXPECT_TRUE(is_valid_name(agent_of_container(id)));
  EXPECT_THAT(agent_of_container(id), StartsWith("0123456789abcdef"));
}

}  // namespace
}  // namespace sluice::netns
