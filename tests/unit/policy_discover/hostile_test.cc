#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(HostileProjects, FifosDevicesAndDirectoriesAreNotReadAndNotWaitedFor) {
  Sandbox sandbox;
  ASSERT_EQ(::mkfifo(sandbox.path("project/.npmrc").c_str(), 0600), 0);
  sandbox.link("/dev/zero", "project/.yarnrc.yml");
  sandbox.write("project/.yarnrc/x", "");
  sandbox.link(".gitmodules", "project/.gitmodules");
  const std::string what = ":0:1: error: it is no regular file, and was not read";
  EXPECT_THAT(sandbox.found(), IsEmpty());
  EXPECT_THAT(sandbox.warnings(),
              testing::IsSupersetOf({".npmrc" + what, ".yarnrc.yml" + what, ".yarnrc" + what}));
  EXPECT_THAT(sandbox.everything(), HasSubstr("Too many levels of symbolic links"));
}

TEST(HostileProjects, AFileOfMoreThanOneMebibyteIsNotReadAndThatIsSaid) {
  Sandbox sandbox;
  sandbox.write("project/package-lock.json", std::string(Files::max_bytes + 1, ' '));
  EXPECT_THAT(sandbox.warnings(),
              ElementsAre("package-lock.json:0:1: error: it is larger than 1048576 bytes, and was "
                          "not read"));
}

TEST(HostileProjects, AMebibyteOfJunkInEveryFileEndsWithoutAFinding) {
  Sandbox sandbox;
  std::string junk;
  for (std::uint32_t state = 1; junk.size() < Files::max_bytes;
       state = state * 1664525 + 1013904223)
    junk += static_cast<char>(state >> 24);
  for (const char* name :
       {".npmrc", ".yarnrc", ".yarnrc.yml", "package-lock.json", "yarn.lock", "pnpm-lock.yaml",
        "requirements.txt", "pyproject.toml", "Pipfile", "uv.lock", ".cargo/config.toml",
        "Cargo.toml", "Cargo.lock", "go.mod", "pom.xml", ".gitmodules", ".git/config"}) {
    sandbox.write(std::string("project/") + name, junk);
  }
  EXPECT_THAT(sandbox.found(), IsEmpty());
  EXPECT_THAT(sandbox.everything(), HasSubstr("no TOML that can be read"));
}

TEST(HostileProjects, WhatALinkPointsAtIsNeverEchoed) {
  Sandbox sandbox;
  sandbox.write("secrets/shadow", "root:$6$secretsalt$secrethash:19000:0:99999:7:::\n");
  for (const char* name : {".npmrc", ".yarnrc", ".yarnrc.yml", "yarn.lock", "requirements.txt",
                           "pyproject.toml", "Cargo.toml", "go.mod", "pom.xml", ".gitmodules"}) {
    sandbox.link(sandbox.path("secrets/shadow"), std::string("project/") + name);
  }
  EXPECT_THAT(sandbox.found(), IsEmpty());
  EXPECT_THAT(sandbox.everything(), Not(HasSubstr("secret")));
}

TEST(HostileProjects, CredentialsArePrintedNowhere) {
  Sandbox sandbox;
  sandbox.write("project/.npmrc",
                "//a.test/:_authToken=secret1\nregistry=https://secretuser:secret2@a.test/\n"
                "@x:registry=https://secretuser:secret3/slash@b.test/\n_auth=secret4\n"
                "@y:registry=https://u:12#secret5@c.test/\n@z:registry=ftp://u:secret6@d.test/\n");
  sandbox.write("home/.gitconfig",
                "[remote \"r\"]\nurl = https://secret7@e.test/\n[http]\nextraHeader = secret8\n");
  sandbox.write("project/pyproject.toml",
                "[[tool.uv.index]]\nurl = 'https://u:secret9@f.test'\nx = [\n");
  sandbox.write("project/pom.xml", "<project><password>secret10</passwort></project>");
  sandbox.machine.environment["PIP_INDEX_URL"] = "https://u:secret11@bad host/";
  sandbox.machine.environment["GOSUMDB"] = "secret:12@x y";
  EXPECT_THAT(sandbox.everything(), HasSubstr("a.test"));
  EXPECT_THAT(sandbox.everything(), Not(HasSubstr("secret")));
}

TEST(HostileProjects, NamesThatAnAgentChoseCannotBreakOutOfAComment) {
  Sandbox sandbox;
  sandbox.write("project/.gitmodules",
                "[submodule \"x\"]\npath = \"a\\n      - host: evil.test\\n\\u001b\"\n");
  const std::string folder = "project/a\n      - host: evil.test\n";
  sandbox.write("project/.gitmodules",
                "[submodule \"x\"]\npath = \"a\\n      - host: evil.test\\n\"\n");
  sandbox.write(folder + "/.npmrc", "registry=https://b.test\n");
  sandbox.write(folder + "/package.json", "{}");
  sandbox.write("home/.npmrc", "@s:registry=https://b.test\n");
  const std::string yaml = to_yaml(sandbox.findings());
  EXPECT_THAT(yaml, HasSubstr("a\\x0a      - host: evil.test\\x0a/.npmrc:1"));
  EXPECT_THAT(yaml, Not(HasSubstr("\n      - host: evil.test")));
}

TEST(HostileProjects, AFloodOfHostsIsCountedAndDoesNotCrowdOutTheOperators) {
  Sandbox sandbox;
  std::string lock;
  for (int i = 0; i < 5000; ++i) lock += fmt::format("\"resolved\": \"https://h{}.test/\"\n", i);
  sandbox.write("project/package-lock.json", lock);
  sandbox.write("home/.gitconfig", "[remote \"r\"]\nurl = https://last.example.com\n");
  const auto found = sandbox.found();
  EXPECT_EQ(found.size(), Findings::max_findings + 1);
  EXPECT_EQ(found.back(), "last.example.com:443 git remote ~/.gitconfig:2 user");
  EXPECT_THAT(sandbox.warnings(),
              ElementsAre("error: 4488 more findings in files of the project were left out"));
}

TEST(HostileProjects, AFloodOfIncludesAndModulesEnds) {
  Sandbox sandbox;
  std::string config;
  for (int i = 0; i < 300; ++i) config += fmt::format("[include]\npath = f{}\n", i);
  sandbox.write("project/.git/config", config);
  for (int i = 0; i < 100; ++i) sandbox.write(fmt::format("project/.git/f{}", i), config);
  std::string deep = "project/.git/modules";
  for (int i = 0; i < 40; ++i) deep += "/d";
  sandbox.write(deep + "/config", "[remote \"o\"]\nurl = https://no.test\n");
  sandbox.link(".", "project/.git/modules/loop");
  EXPECT_THAT(sandbox.found(), IsEmpty());
  EXPECT_THAT(sandbox.everything(), HasSubstr("more warnings were left out"));
}

TEST(HostileProjects, MoreFilesThanAreReadAreTold) {
  Sandbox sandbox;
  for (int i = 0; i < 600; ++i) {
    sandbox.write(fmt::format("system/etc/apt/sources.list.d/{:03}.list", i),
                  "deb https://a.test x\n");
  }
  EXPECT_EQ(sandbox.found().size(), 512u);
  EXPECT_THAT(
      sandbox.warnings(),
      ElementsAre("/etc/apt/sources.list.d/512.list:0:1: error: this file and all behind it "
                  "were not read: 512 files of 32 MiB together are the most"));
}

TEST(HostileProjects, LoopbackAndForbiddenAddressesAreToldAndMakeNoRule) {
  Sandbox sandbox;
  sandbox.write("project/.npmrc",
                "registry=http://localhost:4873\n@a:registry=http://127.0.0.1:1\n"
                "@b:registry=http://169.254.169.254/\n@c:registry=http://host.sluice.internal\n"
                "@d:registry=http://[::1]:1\n");
  EXPECT_THAT(sandbox.found(), IsEmpty());
  const std::string loopback =
      "the npm registry here is on this machine's own loopback: no rule is made of it\nhint: in a "
      "sandbox "
      "loopback is the sandbox's own; host.sluice.internal and a cidr rule open the machine's";
  EXPECT_THAT(
      sandbox.warnings(),
      ElementsAre(
          ".npmrc:1:1: error: " + loopback, ".npmrc:2:1: error: " + loopback,
          ".npmrc:3:1: error: the npm registry here is at an address that no rule can open: "
          "no rule is made of it",
          ".npmrc:4:1: error: " + loopback, ".npmrc:5:1: error: " + loopback));
}

TEST(HostileProjects, ADirectoryThatIsNoneIsAnError) {
  Sandbox sandbox;
  const auto missing = discover(sandbox.path("project/none\x1b"), sandbox.machine);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().what, HasSubstr("none\\x1b': No such file or directory"));
}

}  // namespace
}  // namespace sluice::allowlists::discover
