#include "allowlists/discover/remote.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sluice::allowlists::discover {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string shown(const tl::expected<Remote, NoRemote>& remote) {
  if (!remote) {
    return remote.error().kind == NoRemote::Kind::local ? "local" : "no: " + remote.error().what;
  }
  return fmt::format("{}:{}{}", remote->host.to_string(), remote->port,
                     remote->is_tls_off ? " off" : "");
}

struct Case {
  std::string_view text;
  std::string_view expected;
};

TEST(RemoteAddress, AUrlIsTheHostAndPortThatAConnectionWouldGoTo) {
  const Case cases[] = {
      {"https://mirror.example.com/simple/", "mirror.example.com:443"},
      {"HTTPS://Mirror.Example.COM./", "mirror.example.com:443"},
      {"http://mirror.example.com", "mirror.example.com:80"},
      {"https://mirror.example.com:8443?x", "mirror.example.com:8443"},
      {"https://mirror.example.com:/x", "mirror.example.com:443"},
      {"https://user:p@ss@mirror.example.com/x", "mirror.example.com:443"},
      {"https://mirror.example.com/@scope/pkg", "mirror.example.com:443"},
      {"https://mirror.example.com/repo.git@v1#egg=x", "mirror.example.com:443"},
      {"https://[2001:db8::1]:8443/x", "2001:db8::1:8443"},
      {"https://192.0.2.1/x", "192.0.2.1:443"},
      {"ssh://git@git.example.com/x", "git.example.com:22 off"},
      {"ssh://git@git.example.com:2222/x", "git.example.com:2222 off"},
      {"git+ssh://git@git.example.com/x", "git.example.com:22 off"},
      {"ssh+git://git@git.example.com/x", "git.example.com:22 off"},
      {"git://git.example.com/x", "git.example.com:9418 off"},
      {"sparse+https://index.example.com/", "index.example.com:443"},
      {"registry+https://index.example.com/", "index.example.com:443"},
      {"git+https://git.example.com/x?rev=1#2", "git.example.com:443"},
      {"file:///srv/wheels", "local"},
      {"git+file:///srv/repo", "local"},
      {"./wheels", "local"},
      {"", "local"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(shown(parse_url(text)), expected) << text;
}

TEST(RemoteAddress, WhatIsNoHostIsRefusedWithoutRepeatingIt) {
  const Case cases[] = {
      {"https://${SECRET}/x", "no: the host comes from a variable"},
      {"${SECRET}", "no: the host comes from a variable"},
      {"https://{secret}.example.com/", "no: the host comes from a variable"},
      {"ftp://secret.example.com/x", "no: it is no http, https, ssh or git URL"},
      {"https:///secret", "no: the host is missing"},
      {"https://-oProxyCommand=secret/x", "no: the host begins with '-'"},
      {"https://evil.test\\@secret.example.com/", "no: a backslash in the host"},
      {"https://user:pass#secret@mirror.example.com/", "no: an '@' behind the host"},
      {"https://user:12?secret@mirror.example.com/", "no: an '@' behind the host"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(shown(parse_url(text)), expected) << text;
  for (const char* text : {"https://user:secret/word@mirror.example.com/", "https://sec%72et/",
                           "https://0x7f.1/secret", "https://secret:0443/", "https://secret:70000/",
                           "https://sec ret/", "https://[secret]/", "https://secret:80:443/",
                           "https://secret..test/"}) {
    const auto remote = parse_url(text);
    ASSERT_FALSE(remote) << text;
    EXPECT_EQ(remote.error().kind, NoRemote::Kind::refused) << text;
    EXPECT_THAT(remote.error().what, Not(HasSubstr("secret"))) << text;
  }
}

TEST(RemoteAddress, GitsOwnSpellingsAreSsh) {
  const Case cases[] = {
      {"git@git.example.com:team/repo.git", "git.example.com:22 off"},
      {"git.example.com:repo", "git.example.com:22 off"},
      {"git@[git.example.com:2222]:repo", "git.example.com:2222 off"},
      {"[git.example.com:2222]:repo", "git.example.com:2222 off"},
      {"git@[2001:db8::1]:repo", "2001:db8::1:22 off"},
      {"https://git.example.com/repo", "git.example.com:443"},
      {"/srv/git/repo", "local"},
      {"../other", "local"},
      {"./with:colon", "local"},
      {"file:///srv/git/repo", "local"},
      {"ext::sh -c secret", "no: a remote helper, which is a program (gitremote-helpers(7))"},
      {"-oProxyCommand=secret:x", "no: the host begins with '-'"},
      {"user@-oProxyCommand=secret:x", "no: the host begins with '-'"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(shown(parse_git_address(text)), expected) << text;
  }
}

TEST(RemoteAddress, APrefixSettlesTheHostOnlyWhenNothingBehindItCanChangeTheName) {
  for (const char* text : {"https://mirror.example.com/", "https://mirror.example.com/git/",
                           "ssh://git@git.example.com:2222/", "git@git.example.com:"}) {
    EXPECT_TRUE(settles_host(text)) << text;
  }
  for (const char* text : {"https://", "https://mirror", "https://mirror.example.com",
                           "https://user@mirror.example.com", "git@git.example.com", "", "/srv/"}) {
    EXPECT_FALSE(settles_host(text)) << text;
  }
}

}  // namespace
}  // namespace sluice::allowlists::discover
