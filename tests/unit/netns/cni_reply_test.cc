#include "netns/containers/cni_reply.h"

#include <gtest/gtest.h>

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

TEST(CniReply, OfAddAloneIsLoopbackOfTheVersionThatWasAsked) {
  CniRequest request;
  request.version = "1.0.0";
  request.netns = "/run/netns/pod";
  const Json result = Json::parse(add_result(request));
  EXPECT_EQ(result.at("cniVersion"), "1.0.0");
  EXPECT_EQ(result.at("interfaces").at(0).at("name"), "lo");
  EXPECT_EQ(result.at("interfaces").at(0).at("sandbox"), "/run/netns/pod");
  EXPECT_EQ(result.at("ips").at(1), Json::parse(R"({"address":"::1/128","interface":0})"));
}

TEST(CniReply, OfAddBehindAnotherPluginIsThatOnesResult) {
  CniRequest request;
  request.previous = Json::parse(
      R"({"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mtu":1400}],"dns":{"nameservers":["192.0.2.1"]},"new":7})");
  EXPECT_EQ(Json::parse(add_result(request)), request.previous);
}

TEST(CniReply, OfAnErrorHasItsCodeAndAHint) {
  const CniError error{CniError::try_again_later, "sluiced is away", "start it"};
  EXPECT_EQ(
      Json::parse(error_result(error, "1.1.0")),
      Json::parse(
          R"({"cniVersion":"1.1.0","code":11,"msg":"sluiced is away","details":"start it"})"));
}

TEST(CniReply, OfVersionNamesBoth) {
  EXPECT_EQ(version_result("1.0.0"),
            "{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"1.0.0\",\"1.1.0\"]}\n");
}

}  // namespace
}  // namespace sluice::netns
