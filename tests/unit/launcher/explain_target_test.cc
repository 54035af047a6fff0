#include "launcher/explain_target.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

TEST(ExplainedTargets, AreHostsPortsAndUrls) {
  struct Case {
    const char* text;
    const char* target;
    const char* path;
  };
  const Case cases[] = {
      {"api.example.com", "api.example.com:443", ""},
      {"API.example.com.", "api.example.com:443", ""},
      {"api.example.com:22", "api.example.com:22", ""},
      {"https://api.example.com/a?b#c", "api.example.com:443", "/a?b"},
      {"http://api.example.com", "api.example.com:80", ""},
      {"http://api.example.com:8080?x", "api.example.com:8080", "?x"},
      {"[2001:db8::1]:443", "[2001:db8::1]:443", ""},
      {"2001:db8::1", "[2001:db8::1]:443", ""},
      {"192.0.2.1", "192.0.2.1:443", ""},
  };
  for (const Case& one : cases) {
    const auto asked = parse_explain_target(one.text);
    ASSERT_TRUE(asked) << one.text << to_string(asked.error());
    EXPECT_EQ(asked->target.to_string(), one.target);
    EXPECT_EQ(asked->path, one.path);
  }
}

TEST(ExplainedTargets, RefuseWhatEnforcementWouldRefuse) {
  for (const char* text :
       {"", "ftp://example.com/", "gopher://x", "https://", "https:///x",
        "https://user@example.com/", "0x7f.1", "127.1", "example.com:0", "example.com:65536",
        "example.com:", "a b", "https://allowed.test\\@evil.test"}) {
    EXPECT_FALSE(parse_explain_target(text)) << text;
  }
  EXPECT_EQ(to_string(parse_explain_target("ftp://example.com/").error()),
            "error: 'ftp://example.com/': only http and https are judged by URL\n"
            "hint: name a host, HOST:PORT, http://HOST/PATH or https://HOST/PATH");
}

}  // namespace
}  // namespace sluice::launcher
