// Which source and mark an agent leaves with, and the credentials for an upstream proxy.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/loopback/behind.h"

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::string source_of(const Dialled& dialled) {
  return dialled.socket.local_endpoint().address().to_string();
}

TEST(Egress, LeavesFromTheSourceOfTheFirstEntryThatFits) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"other-*"}, .source_v4 = IpAddress::parse("127.0.0.66")},
                         {.agents = {"coder-*"}, .source_v4 = IpAddress::parse("127.0.0.77")},
                         {.agents = {"*"}, .source_v4 = IpAddress::parse("127.0.0.88")}};
  const Dialled dialled = world.dial("one.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  EXPECT_EQ(source_of(dialled), "127.0.0.77");
}

TEST(Egress, DialsNoFamilyWithoutASource) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"*"}, .source_v6 = IpAddress::parse("2001:db8::77")}};
  EXPECT_EQ(world.failure("one.test:443"),
            fmt::format("unreachable: the upstream proxy 127.0.0.1:{} cannot be reached: this "
                        "agent's 'egress' has no IPv4 source",
                        world.port()));
  EXPECT_EQ(world.failure("127.0.0.77:22"),
            "unreachable: this agent's 'egress' has no IPv4 source");
  EXPECT_EQ(world.connections, 0);
}

TEST(Egress, SaysThatTheMachineHasNotTheSource) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"coder-1"}, .source_v4 = IpAddress::parse("198.51.100.200")}};
  EXPECT_THAT(world.failure("one.test:443"),
              testing::AllOf(testing::StartsWith("unreachable: "),
                             HasSubstr("cannot leave from 198.51.100.200: Cannot assign")));
  EXPECT_EQ(world.connections, 0);
  Errors warnings;
  ASSERT_TRUE(WayOut::open(world.config, warnings));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].what, "'egress': 198.51.100.200 is no address of this machine");
}

TEST(Egress, MarksOrDoesNotStart) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"*"}, .mark = 0x10}};
  Errors warnings;
  const auto way_out = WayOut::open(world.config, warnings);
  if (!way_out) {
    EXPECT_EQ(way_out.error().what,
              "sluiced cannot set the mark 0x10 of 'egress': Operation not permitted");
    EXPECT_EQ(way_out.error().hint, "give sluiced CAP_NET_ADMIN, or leave 'mark' out");
    return;
  }
  Dialled dialled = world.dial("one.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  std::uint32_t mark = 0;
  socklen_t size = sizeof mark;
  getsockopt(dialled.socket.native_handle(), SOL_SOCKET, SO_MARK, &mark, &size);
  EXPECT_EQ(mark, 0x10U);
}

TEST(Credentials, AreOneLineAndNeverRepeated) {
  const std::string path = testing::TempDir() + "credentials_form";
  Config config;
  config.upstream_proxy.emplace(Config::UpstreamProxy{.host = "proxy.example", .port = 3128});
  config.upstream_proxy->credentials_file = path;
  const struct {
    const char* text;
    bool good;
  } cases[] = {{"user:secret\n", true},
               {"user:secret", true},
               {"user:secret\r\n", true},
               {"user:\n", true},
               {"", false},
               {"secret\n", false},
               {":secret\n", false},
               {"user:secret\n\n", false},
               {"user:secret\nb:c\n", false},
               {"us\ter:secret", false}};
  for (const auto& test : cases) {
    std::ofstream(path) << test.text;
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    Errors warnings;
    const auto opened = WayOut::open(config, warnings);
    EXPECT_EQ(opened.has_value(), test.good) << test.text;
    EXPECT_THAT(warnings, IsEmpty());
    if (opened) continue;
    EXPECT_EQ(opened.error().what,
              fmt::format("the credentials file '{}' is not one line 'user:password'", path));
  }
  std::ofstream(path) << "user:secret\n";
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  Errors warnings;
  ASSERT_TRUE(WayOut::open(config, warnings));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].what,
            fmt::format("others than its owner can read the credentials file '{}'", path));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sluice::proxy
