#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(Npm, RegistriesOfUserAndProjectAreFoundWithTheirScopes) {
  Sandbox sandbox;
  sandbox.write("home/.npmrc", "registry=https://npm.example.com/\n");
  sandbox.write("system/etc/npmrc", "@team:registry = https://team.example.com:8443/npm/\n");
  sandbox.write("project/.npmrc",
                "//evil.test/:_authToken=secret\nproxy=http://proxy.test\n"
                "@other:registry=http://other.test\n");
  EXPECT_THAT(sandbox.found(), ElementsAre("npm.example.com:443 npm registry ~/.npmrc:1 user",
                                           "team.example.com:8443 npm registry /etc/npmrc:1 user",
                                           "other.test:80 npm registry .npmrc:3 project"));
  EXPECT_THAT(sandbox.warnings(), IsEmpty());
}

TEST(Npm, VariablesOfTheOperatorCountInAnyCase) {
  Sandbox sandbox;
  sandbox.write("home/other", "registry=https://named.example.com\n");
  sandbox.machine.environment = {{"npm_config_registry", "https://a.example.com"},
                                 {"NPM_CONFIG_@team:registry", "https://b.example.com"},
                                 {"npm_config_cache", "https://no.example.com"},
                                 {"NPM_CONFIG_USERCONFIG", sandbox.path("home/other")},
                                 {"YARN_NPM_REGISTRY_SERVER", "https://c.example.com"}};
  EXPECT_THAT(sandbox.found(),
              UnorderedElementsAre("b.example.com:443 npm registry $NPM_CONFIG_@team:registry user",
                                   "a.example.com:443 npm registry $npm_config_registry user",
                                   "c.example.com:443 yarn registry $YARN_NPM_REGISTRY_SERVER user",
                                   "named.example.com:443 npm registry ~/other:1 user"));
}

TEST(Yarn, BothFormatsOfItsConfigurationAreRead) {
  Sandbox sandbox;
  sandbox.write(
      "project/.yarnrc",
      "# c\nregistry \"https://one.test\"\n\"@s:registry\" https://two.test\nlastUpdate 1\n");
  sandbox.write("project/.yarnrc.yml",
                "npmRegistryServer: \"https://three.test\"\nnpmScopes:\n  team:\n"
                "    npmRegistryServer: https://four.test\n    npmAuthToken: secret\n");
  EXPECT_THAT(sandbox.found(), ElementsAre("one.test:443 yarn registry .yarnrc:2 project",
                                           "two.test:443 yarn registry .yarnrc:3 project",
                                           "three.test:443 yarn registry .yarnrc.yml:1 project",
                                           "four.test:443 yarn registry .yarnrc.yml:4 project"));
}

TEST(NpmLockFiles, OnlyTheHostsThatPackagesCameFromAreRead) {
  Sandbox sandbox;
  sandbox.write("project/package-lock.json",
                "{\"packages\": {\"a\": {\n\"resolved\": \"https://one.test/a.tgz\"},\n"
                "\"b\": {\"resolved\": \"https://one.test/b.tgz\"},\n"
                "\"c\": {\"resolved\": \"git+ssh://git@git.test/c.git#1\"},\n"
                "\"d\": {\"resolved\": \"file:../d\", \"homepage\": \"https://no.test\"}}}\n");
  sandbox.write("project/yarn.lock",
                "a@^1:\n  version \"1\"\n  resolved \"https://two.test/a.tgz#1\"\n");
  sandbox.write(
      "project/pnpm-lock.yaml",
      "packages:\n  a: {resolution: {integrity: x, tarball: https://three.test/a.tgz}}\n");
  EXPECT_THAT(sandbox.found(),
              ElementsAre("one.test:443 npm lock file package-lock.json:2 project",
                          "git.test:22 off npm lock file package-lock.json:4 project",
                          "two.test:443 npm lock file yarn.lock:3 project",
                          "three.test:443 npm lock file pnpm-lock.yaml:2 project"));
}

}  // namespace
}  // namespace sluice::allowlists::discover
