#include "netns/containers/oci_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "netns/named/state.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const std::vector<VsockWay> ways{
    {"socket", {}}, {"io_uring_setup", {}}, {"socketcall (32-bit)", {}}};

Json seccomp(const std::string& rules, const std::string& architectures = "") {
  return Json::parse(R"({"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64")" +
                     architectures + R"(],"syscalls":[)" + rules + "]}");
}

Json config(const Json& filter) {
  Json made = Json::parse(
      R"({"process":{"capabilities":{"bounding":["CAP_NET_RAW"],"effective":["CAP_NET_RAW"]}},
          "linux":{"namespaces":[{"type":"pid"},{"type":"network"}]}})");
  if (!filter.is_null()) made["linux"]["seccomp"] = filter;
  return made;
}

// The weaknesses that were found, or the error.
std::string judged(const Json& made) {
  const auto findings = judge_oci_config(made.dump(), ways);
  if (!findings) return findings.error().what;
  std::string words;
  for (const Finding& finding : *findings)
    words += std::string(weakness_name(finding.weakness)) + " ";
  return words;
}

constexpr const char* without_vsock =
    R"({"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]})";

TEST(OciConfig, IsGoodWhenTheFilterRefusesAfVsock) {
  EXPECT_EQ(judged(config(seccomp(without_vsock))), "");
  EXPECT_EQ(judged(config(seccomp(R"({"names":["read"],"action":"SCMP_ACT_ALLOW"})"))), "");
}

TEST(OciConfig, FindsFiltersThatLetAfVsockThrough) {
  const std::vector<std::string> rules{
      R"({"names":["read","socket"],"action":"SCMP_ACT_ALLOW"})",
      R"({"names":["socket"],"action":"SCMP_ACT_LOG"})",
      R"({"names":["socket"],"action":"SCMP_ACT_NOTIFY"})",
      R"({"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":16,"op":"SCMP_CMP_NE"}]})",
      R"({"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":2,"value":9,"op":"SCMP_CMP_NE"}]})",
      R"({"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":255,"valueTwo":40,"op":"SCMP_CMP_MASKED_EQ"}]})",
      // The kernel takes 40 + 2^32 for AF_VSOCK as well.
      R"({"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":40,"op":"SCMP_CMP_NE"}]})",
      R"({"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4294967336,"op":"SCMP_CMP_EQ"}]})",
      R"({"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":40,"op":"SCMP_CMP_GT"}]})",
      std::string(without_vsock) + R"(,{"names":["io_uring_setup"],"action":"SCMP_ACT_ALLOW"})"};
  for (const std::string& rule : rules) EXPECT_EQ(judged(config(seccomp(rule))), "vsock ") << rule;
  EXPECT_EQ(judged(config(Json())), "vsock ") << "no filter at all";
  EXPECT_EQ(judged(config(Json::parse(R"({"defaultAction":"SCMP_ACT_ALLOW"})"))), "vsock ");
}

TEST(OciConfig, CountsSocketcallOnlyWhereTheFilterAdmits32BitPrograms) {
  const std::string rules =
      std::string(without_vsock) + R"(,{"names":["socketcall"],"action":"SCMP_ACT_ALLOW"})";
  EXPECT_EQ(judged(config(seccomp(rules))), "");
  EXPECT_EQ(judged(config(seccomp(rules, R"(,"SCMP_ARCH_X86")"))), "vsock ");
  EXPECT_EQ(judged(config(seccomp(without_vsock, R"(,"SCMP_ARCH_X86")"))), "vsock ")
      << "libseccomp lets the one through for the other";
}

TEST(OciConfig, RefusesByARuleWhereTheDefaultAllows) {
  Json filter = seccomp(
      R"({"names":["socket"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":4294967295,"valueTwo":40,"op":"SCMP_CMP_MASKED_EQ"}]},
         {"names":["io_uring_setup"],"action":"SCMP_ACT_KILL_PROCESS"})");
  filter["defaultAction"] = "SCMP_ACT_ALLOW";
  EXPECT_EQ(judged(config(filter)), "");
  filter["syscalls"][0]["args"] = Json::parse(R"([{"index":0,"value":40,"op":"SCMP_CMP_EQ"}])");
  EXPECT_EQ(judged(config(filter)), "vsock ") << "40 + 2^32 passes it";
}

TEST(OciConfig, FindsNetAdmin) {
  for (const char* const set : {"effective", "permitted", "ambient", "bounding"}) {
    Json made = config(seccomp(without_vsock));
    made["process"]["capabilities"][set] = {"CAP_CHOWN", "CAP_NET_ADMIN"};
    EXPECT_EQ(judged(made), "net_admin ") << set;
    made["process"]["noNewPrivileges"] = true;
    EXPECT_EQ(judged(made), std::string_view(set) == "bounding" ? "" : "net_admin ") << set;
  }
  Json made = config(seccomp(without_vsock));
  made["process"].erase("capabilities");
  EXPECT_EQ(judged(made), "net_admin ");
}

TEST(OciConfig, RefusesAContainerWithTheNetworkOfItsHost) {
  Json made = config(seccomp(without_vsock));
  made["linux"]["namespaces"] = {{{"type", "pid"}}};
  EXPECT_EQ(judged(made), "the container has no network namespace of its own");
}

TEST(OciConfig, OfAnotherShapeIsNeverGood) {
  for (const char* const text :
       {"", "[]", "7", "{}", R"({"linux":7})", R"({"linux":{"namespaces":{}}})"}) {
    EXPECT_FALSE(judge_oci_config(text, ways)) << text;
  }
  Json made =
      config(Json::parse(R"({"defaultAction":7,"syscalls":[7,{"names":7},{"names":[7]}]})"));
  made["process"]["capabilities"] = {{"effective", 7}};
  EXPECT_EQ(judged(made), "vsock ");
}

TEST(OciHook, ReadsTheStateOfAContainer) {
  const auto state = read_oci_state(
      R"({"ociVersion":"1.0.2","id":"web","status":"creating","pid":4711,"bundle":"/b","annotations":{"a":"b"}})");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->id, "web");
  EXPECT_EQ(state->status, "creating");
  EXPECT_EQ(state->pid, 4711);
  EXPECT_EQ(state->bundle, "/b");
  EXPECT_EQ(state->annotations.at("a"), "b");
  for (const char* const text :
       {"", "{}", "[]", R"({"id":"web"})", R"({"id":7,"status":"x","bundle":"/"})"}) {
    EXPECT_FALSE(read_oci_state(text)) << text;
  }
}

OciState state_with(const std::string& agent, const std::string& despite = "") {
  return {"web",
          "creating",
          4711,
          "/b",
          {{"dev.sluice.agent", agent}, {"dev.sluice.despite", despite}}};
}

TEST(OciHook, NamesWhatItDoesNotAccept) {
  const auto order = plan_attachment(state_with("coder-1"), {{Weakness::vsock, "because of this"}});
  ASSERT_FALSE(order);
  EXPECT_EQ(order.error().what, "because of this");
  EXPECT_THAT(order.error().hint, HasSubstr("dev.sluice.despite=vsock"));
}

TEST(OciHook, WithdrawsThePromiseInWordsWhereAWeaknessIsAccepted) {
  const auto order =
      plan_attachment(state_with("coder-1", "net_admin,vsock"), {{Weakness::vsock, "because"}});
  ASSERT_TRUE(order);
  EXPECT_EQ(order->kind, LeaseState::Kind::oci);
  EXPECT_EQ(order->id, "web");
  EXPECT_EQ(order->pid, 4711);
  ASSERT_EQ(order->withdrawn.size(), 1U);
  EXPECT_THAT(order->withdrawn.front(), HasSubstr("because: it is not promised"));
}

TEST(OciHook, RefusesAnnotationsThatItDoesNotUnderstand) {
  EXPECT_FALSE(plan_attachment(state_with("a b"), {}));
  EXPECT_FALSE(plan_attachment(state_with("coder-1", "everything"), {}));
  EXPECT_FALSE(plan_attachment(state_with("coder-1",
                                          "vsock,"
                                          "x"),
                               {}));
  OciState ended = state_with("coder-1");
  ended.pid = 0;
  EXPECT_FALSE(plan_attachment(ended, {}));
}

TEST(OciHook, HasAStateForEveryContainerId) {
  EXPECT_EQ(oci_state_id("web"), "web");
  for (const std::string& id : {std::string(300, 'a'), std::string("a+b"), std::string("../x")}) {
    EXPECT_TRUE(oci_state_id(id).size() == 64) << id;
  }
}

}  // namespace
}  // namespace sluice::netns
