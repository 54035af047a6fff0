#include "netns/containers/cni_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::netns {
namespace {

using testing::HasSubstr;

CniEnvironment environment(const std::string& command) {
  return {{"COMMAND", command},
          {"CONTAINERID", "c1"},
          {"NETNS", "/run/netns/pod"},
          {"IFNAME", "eth0"},
          {"ARGS", "IgnoreUnknown=1;K8S_POD_NAME=shop"}};
}

std::string config(const std::string& more = "") {
  return R"({"cniVersion":"1.1.0","name":"pods","type":"sluice-netns")" + more + "}";
}

TEST(CniRequest, HasWhatTheRuntimeSaid) {
  const auto request = read_cni_request(environment("ADD"),
                                        config(R"(,"proxy":"/run/p.sock","allowRawSockets":true)"));
  ASSERT_TRUE(request) << request.error().what;
  EXPECT_EQ(request->command, CniCommand::add);
  EXPECT_EQ(request->network, "pods");
  EXPECT_EQ(request->attachment, (CniAttachment{"c1", "eth0"}));
  EXPECT_EQ(request->netns, "/run/netns/pod");
  EXPECT_EQ(request->arguments.at("K8S_POD_NAME"), "shop");
  EXPECT_EQ(request->proxy, "/run/p.sock");
  EXPECT_TRUE(request->raw);
  EXPECT_TRUE(request->previous.is_null());
}

TEST(CniRequest, NeedsNoNamespaceForDel) {
  auto variables = environment("DEL");
  variables.erase("NETNS");
  EXPECT_TRUE(read_cni_request(variables, config()));
}

TEST(CniRequest, NamesTheVariableThatIsWrong) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> bad{
      {"COMMAND", {"", "add", "ADD\n"}},
      {"CONTAINERID", {"", "-a", "a/b", "a b", "a\nb", std::string(300, 'a')}},
      {"IFNAME", {"", ".", "..", "a/b", "a:b", "a b", "sixteen_letters_"}},
      {"NETNS", {""}},
      {"ARGS", {"novalue"}}};
  for (const auto& [name, values] : bad) {
    for (const std::string& value : values) {
      auto variables = environment("ADD");
      variables[name] = value;
      const auto request = read_cni_request(variables, config());
      ASSERT_FALSE(request) << name << "=" << value;
      EXPECT_EQ(request.error().code, CniError::invalid_environment);
      EXPECT_THAT(request.error().what, HasSubstr("CNI_" + name));
    }
  }
}

TEST(CniRequest, RefusesConfigurationsWithTheSpecificationsCodes) {
  struct Case {
    std::string command;
    std::string config;
    CniError::Code code;
    std::string what;
  };
  const std::vector<Case> cases{
      {"ADD", "", CniError::decoding_failure, "the configuration on stdin is not a JSON object"},
      {"ADD", "[]", CniError::decoding_failure, "the configuration on stdin is not a JSON object"},
      {"ADD", R"({"name":"pods"})", CniError::incompatible_version,
       "the CNI version '' is not supported"},
      {"ADD", R"({"cniVersion":"0.4.0","name":"pods"})", CniError::incompatible_version,
       "the CNI version '0.4.0' is not supported"},
      {"ADD", R"({"cniVersion":7})", CniError::decoding_failure, "'cniVersion' is not a text"},
      {"STATUS", R"({"cniVersion":"1.0.0","name":"pods"})", CniError::incompatible_version,
       "CNI 1.0.0 has neither GC nor STATUS"},
      {"ADD", R"({"cniVersion":"1.0.0"})", CniError::invalid_config,
       "key 'name' is not the name of a network"},
      {"ADD", config(R"(,"proxy":"here")"), CniError::invalid_config,
       "key 'proxy' is not an absolute path"},
      {"ADD", config(R"(,"allowRawSockets":"yes")"), CniError::invalid_config,
       "key 'allowRawSockets' is neither true nor false"},
      {"ADD", config(R"(,"ipam":{"type":"host-local"})"), CniError::unsupported_field,
       R"(field 'ipam' is not supported: {"type":"host-local"})"},
      {"ADD", config(R"(,"prevResult":[])"), CniError::invalid_config,
       "key 'prevResult' is not an object"},
      {"CHECK", config(), CniError::invalid_config,
       "key 'prevResult' is missing, and CHECK needs it"},
      {"GC", config(), CniError::invalid_config, "key 'cni.dev/valid-attachments' is not a list"},
      {"GC", config(R"(,"cni.dev/valid-attachments":[{"containerID":"a"}])"),
       CniError::invalid_config,
       "key 'cni.dev/valid-attachments' has an entry without 'containerID' and 'ifname'"}};
  for (const Case& one : cases) {
    const auto request = read_cni_request(environment(one.command), one.config);
    ASSERT_FALSE(request) << one.config;
    EXPECT_EQ(request.error().code, one.code) << one.config;
    EXPECT_EQ(request.error().what, one.what);
  }
}

TEST(CniRequest, RefusesAConfigurationThatIsTooLong) {
  const auto request = read_cni_request(
      environment("ADD"), config(R"(,"x":")" + std::string(max_cni_config, 'x') + '"'));
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, CniError::decoding_failure);
}

TEST(CniRequest, AcceptsAnEmptyIpam) {
  EXPECT_TRUE(read_cni_request(environment("ADD"), config(R"(,"ipam":{},"ipMasq":false)")));
}

TEST(CniRequest, OfVersionIsAnsweredWhateverTheConfigurationIs) {
  for (const char* const text : {"", "{}", R"({"cniVersion":"9.9.9"})"}) {
    const auto request = read_cni_request({{"COMMAND", "VERSION"}}, text);
    ASSERT_TRUE(request) << text;
    EXPECT_EQ(request->version, "1.1.0");
  }
}

}  // namespace
}  // namespace sluice::netns
