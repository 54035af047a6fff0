#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/daemon/config.h"

namespace sluice::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

tl::expected<Config, Errors> read(const std::string& text) {
  return parse_config("policy: p\n" + text, "/etc/sluice/sluiced.yaml");
}

std::vector<std::string> texts_of(const Errors& errors) {
  std::vector<std::string> texts;
  for (const Error& error : errors) {
    texts.push_back(to_string(error).substr(std::string("/etc/sluice/sluiced.yaml:").size()));
  }
  return texts;
}

std::vector<std::string> errors_of(const std::string& text) {
  const auto config = read(text);
  return config ? std::vector<std::string>() : texts_of(config.error());
}

TEST(ConfigOfUpstreamProxy, ReadsEveryKey) {
  const auto config = read(R"(
upstream_proxy:
  url: http://Proxy.Example.:3128/
  credentials: {file: proxy.credentials}
  except: [Example.com, ".example.net", "*.example.org", 10.0.0.0/8, 192.0.2.7, "2001:db8::/32"]
)");
  ASSERT_TRUE(config) << to_string(config.error().front());
  ASSERT_TRUE(config->upstream_proxy);
  EXPECT_EQ(config->upstream_proxy->host, "proxy.example");
  EXPECT_EQ(config->upstream_proxy->port, 3128);
  EXPECT_EQ(config->upstream_proxy->credentials_file, "/etc/sluice/proxy.credentials");
  EXPECT_EQ(config->upstream_proxy->send, Config::UpstreamProxy::Send::address);
  EXPECT_THAT(config->upstream_proxy->except.hosts,
              ElementsAre("example.com", ".example.net", "*.example.org"));
  EXPECT_THAT(config->upstream_proxy->except.ranges,
              ElementsAre(*Cidr::parse("10.0.0.0/8"), *Cidr::parse("192.0.2.7"),
                          *Cidr::parse("2001:db8::/32")));
  EXPECT_THAT(config->warnings, IsEmpty());
  EXPECT_EQ(read("upstream_proxy: {url: 'http://[2001:db8::1]:3128'}")->upstream_proxy->host,
            "2001:db8::1");
}

TEST(ConfigOfUpstreamProxy, WarnsThatNoAddressIsJudgedWhereNamesAreSent) {
  const auto config = read("upstream_proxy: {url: http://proxy.example:3128, send: name}");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->upstream_proxy->send, Config::UpstreamProxy::Send::name);
  EXPECT_THAT(
      texts_of(config->warnings),
      ElementsAre("2:56: error: with 'send: name' the upstream proxy resolves the names, and no "
                  "address is judged here: an allowed name may lead it to private addresses and to "
                  "metadata services\n"
                  "hint: leave 'send' out unless only the upstream proxy can resolve names"));
}

TEST(ConfigOfUpstreamProxy, SaysOfEachMistakeWhatToWrite) {
  const std::string unsupported =
      "hint: write http://proxy.example:3128: it is asked by CONNECT over plain TCP; TLS to the "
      "proxy and SOCKS are not supported";
  const struct {
    std::string text;
    std::string error;
  } cases[] = {
      {"upstream_proxy: {}",
       "2:17: error: 'upstream_proxy.url' is missing\nhint: write http://proxy.example:3128"},
      {"upstream_proxy: http://proxy.example:3128",
       "2:17: error: 'upstream_proxy' is not a map\nhint: write one 'key: value' per line"},
      {"upstream_proxy: {url: 'http://user:secret@proxy.example:3128'}",
       "2:23: error: 'upstream_proxy.url' has a user or a password in it\n"
       "hint: keep the secret out of this file: write 'user:password' into another one and name "
       "it, credentials: {file: proxy.credentials}"},
      {"upstream_proxy: {url: 'https://proxy.example:3128'}",
       "2:23: error: 'https://proxy.example:3128' is no upstream proxy that is supported\n" +
           unsupported},
      {"upstream_proxy: {url: 'socks5://proxy.example:1080'}",
       "2:23: error: 'socks5://proxy.example:1080' is no upstream proxy that is supported\n" +
           unsupported},
      {"upstream_proxy: {url: 'proxy.example:3128'}",
       "2:23: error: 'proxy.example:3128' is no upstream proxy that is supported\n" + unsupported},
      {"upstream_proxy: {url: http://proxy.example:3128, credentials: {}}",
       "2:63: error: 'upstream_proxy.credentials' names no file\n"
       "hint: write credentials: {file: proxy.credentials}"},
      {"upstream_proxy: {url: http://proxy.example:3128, credentials: 'user:secret'}",
       "2:63: error: 'upstream_proxy.credentials' is not a map\n"
       "hint: write one 'key: value' per line"},
      {"upstream_proxy: {url: http://proxy.example:3128, send: both}",
       "2:56: error: 'both' is not what an upstream proxy can be sent\n"
       "hint: write address, or name where only the upstream proxy can resolve names"},
      {"upstream_proxy: {url: http://proxy.example:3128, except: [10.0.0.1/8]}",
       "2:59: error: '10.0.0.1/8' is neither a name nor a range of addresses\n"
       "hint: write example.com, \".example.com\", \"*.example.com\" or 10.0.0.0/8"},
      {"upstream_proxy: {url: http://proxy.example:3128, except: ['*']}",
       "2:59: error: '*' is neither a name nor a range of addresses\n"
       "hint: write example.com, \".example.com\", \"*.example.com\" or 10.0.0.0/8"},
      {"upstream_proxy: {url: http://proxy.example:3128, user: me}",
       "2:50: error: unknown key 'upstream_proxy.user'\n"
       "hint: known here: url, credentials, except, send"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(errors_of(test.text), ElementsAre(test.error)) << test.text;
  }
  for (const char* url : {"http://proxy.example", "http://:3128", "http://proxy.example:0",
                          "http://proxy.example:3128/path", "http://127.1:3128", "http://"}) {
    const auto errors = errors_of("upstream_proxy: {url: '" + std::string(url) + "'}");
    ASSERT_EQ(errors.size(), 1U) << url;
    EXPECT_THAT(errors[0], testing::HasSubstr("names no proxy: ")) << url;
  }
}

TEST(ConfigOfEgress, ReadsSourcesAndMarks) {
  const auto config = read(R"(
egress:
  - {agents: ["coder-*", tester], source: [192.0.2.10, "2001:db8::10"], mark: 0x10}
  - {agents: ["*"], mark: 7}
)");
  ASSERT_TRUE(config) << to_string(config.error().front());
  ASSERT_EQ(config->egress.size(), 2U);
  EXPECT_THAT(config->egress[0].agents, ElementsAre("coder-*", "tester"));
  EXPECT_EQ(config->egress[0].source_v4, IpAddress::parse("192.0.2.10"));
  EXPECT_EQ(config->egress[0].source_v6, IpAddress::parse("2001:db8::10"));
  EXPECT_EQ(config->egress[0].mark, 0x10U);
  EXPECT_FALSE(config->egress[1].source_v4 || config->egress[1].source_v6);
  EXPECT_EQ(config->egress[1].mark, 7U);
}

TEST(ConfigOfEgress, SaysOfEachMistakeWhatToWrite) {
  const std::string mark_hint = "hint: write a number from 1 to 0xffffffff, such as 0x10";
  const std::string source_hint = "hint: write 192.0.2.10 or 2001:db8::10";
  const struct {
    std::string text;
    std::string error;
  } cases[] = {
      {"egress: {mark: 1}",
       "2:9: error: expected a list of entries\n"
       "hint: write one '- {agents: [\"coder-*\"], mark: 0x10}' a line"},
      {"egress: [{mark: 1}]",
       "2:10: error: an 'egress' entry is for no agent\nhint: add agents: [\"coder-*\"]"},
      {"egress: [{agents: [], mark: 1}]",
       "2:10: error: an 'egress' entry is for no agent\nhint: add agents: [\"coder-*\"]"},
      {"egress: [{agents: [a]}]",
       "2:10: error: an 'egress' entry has neither a 'source' nor a 'mark'\n"
       "hint: add source: [192.0.2.10] or mark: 0x10"},
      {"egress: [{agents: ['a b'], mark: 1}]",
       "2:20: error: 'a b' is no agent's name\n"
       "hint: write letters, digits, '.', '_' and '-', and '*' for any of them"},
      {"egress: [{agents: [a], mark: 0}]", "2:30: error: '0' is no mark\n" + mark_hint},
      {"egress: [{agents: [a], mark: 0x1ffffffff}]",
       "2:30: error: '0x1ffffffff' is no mark\n" + mark_hint},
      {"egress: [{agents: [a], mark: -1}]", "2:30: error: '-1' is no mark\n" + mark_hint},
      {"egress: [{agents: [a], source: [eth0]}]",
       "2:33: error: 'eth0' is no address to leave from\n" + source_hint},
      {"egress: [{agents: [a], source: [0.0.0.0]}]",
       "2:33: error: '0.0.0.0' is no address to leave from\n" + source_hint},
      {"egress: [{agents: [a], source: ['::']}]",
       "2:33: error: '::' is no address to leave from\n" + source_hint},
      {"egress: [{agents: [a], source: [192.0.2.1, 192.0.2.2]}]",
       "2:44: error: '192.0.2.2' is a second address of its family\n"
       "hint: keep one IPv4 and one IPv6 address"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(errors_of(test.text), ElementsAre(test.error)) << test.text;
  }
}

}  // namespace
}  // namespace sluice::proxy
