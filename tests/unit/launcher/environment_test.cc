#include "launcher/sandbox/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

using ::testing::Contains;
using ::testing::Not;

TEST(TheEnvironment, KeepsOnlyAFewOfThePersonsVariables) {
  const auto environment =
      agent_environment({.home = "/home/ana",
                         .user = "ana",
                         .inherited = {"PATH=/opt/bin", "LC_ALL=C.UTF-8", "TERM=xterm",
                                       "AWS_SECRET_ACCESS_KEY=hunter2", "SSH_AUTH_SOCK=/tmp/agent",
                                       "LD_PRELOAD=/tmp/x.so", "HOME=/elsewhere",
                                       "XDG_RUNTIME_DIR=/run/user/1", "no equals sign"}});
  EXPECT_EQ(environment, (std::vector<std::string>{
                             "ALL_PROXY=socks5h://127.0.0.1:3128",
                             "HOME=/home/ana",
                             "HTTPS_PROXY=http://127.0.0.1:3128",
                             "HTTP_PROXY=http://127.0.0.1:3128",
                             "JAVA_TOOL_OPTIONS=-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 "
                             "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 "
                             "-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]",
                             "LC_ALL=C.UTF-8",
                             "LOGNAME=ana",
                             "NODE_USE_ENV_PROXY=1",
                             "NO_PROXY=localhost,127.0.0.1,::1",
                             "PATH=/opt/bin",
                             "TERM=xterm",
                             "USER=ana",
                             "all_proxy=socks5h://127.0.0.1:3128",
                             "http_proxy=http://127.0.0.1:3128",
                             "https_proxy=http://127.0.0.1:3128",
                             "no_proxy=localhost,127.0.0.1,::1",
                         }));
}

TEST(TheEnvironment, ListensToPassEnvAndThenToEnv) {
  const auto environment =
      agent_environment({.home = "/h",
                         .user = "u",
                         .inherited = {"TOKEN=mine", "HTTP_PROXY=http://corp:1"},
                         .assignments = {{"LANG", "C"}, {"TOKEN", "given"}},
                         .passed = {"TOKEN", "ABSENT"}});
  EXPECT_THAT(environment, Contains("TOKEN=given"));
  EXPECT_THAT(environment, Contains("LANG=C"));
  EXPECT_THAT(environment, Contains("HTTP_PROXY=http://127.0.0.1:3128"));
  EXPECT_THAT(environment, Not(Contains(::testing::StartsWith("ABSENT="))));
}

TEST(TheEnvironment, AlwaysHasAPath) {
  EXPECT_THAT(agent_environment({.home = "/h", .user = "u"}),
              Contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
}

}  // namespace
}  // namespace sluice::launcher
