#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::ElementsAre;

TEST(DiscoveryTrust, AUsersFileThatLeadsThroughTheProjectIsTheProjects) {
  Sandbox sandbox;
  sandbox.write("project/dotfiles/npmrc", "registry=https://a.test\n");
  sandbox.link(sandbox.path("project/dotfiles/npmrc"), "home/.npmrc");
  // The link in the project is an agent's, wherever it points.
  sandbox.write("elsewhere/pip/pip.conf", "[global]\nindex-url = https://b.test\n");
  sandbox.link(sandbox.path("elsewhere"), "project/.config");
  sandbox.machine.environment["XDG_CONFIG_HOME"] = sandbox.path("project/.config");
  sandbox.link("../project/link", "home/.pip/pip.conf");
  // A chain of links: home -> project -> elsewhere.
  sandbox.write(
      "elsewhere/settings.xml",
      "<settings><mirrors><mirror><url>https://c.test</url></mirror></mirrors></settings>");
  sandbox.link(sandbox.path("elsewhere/settings.xml"), "project/hop");
  sandbox.link("../../project/hop", "home/.m2/settings.xml");
  sandbox.machine.environment["CARGO_HOME"] = sandbox.path("home/../project/cargo");
  sandbox.write("project/cargo/config.toml", "[registries.x]\nindex = 'https://d.test'\n");
  for (const std::string& line : sandbox.found()) {
    EXPECT_THAT(line, testing::EndsWith(" project"));
  }
  EXPECT_EQ(sandbox.found().size(), 4u);
}

TEST(DiscoveryTrust, AProjectsLinkToATrustedFileGainsNothing) {
  Sandbox sandbox;
  sandbox.write("elsewhere/npmrc", "registry=https://a.test\n");
  sandbox.link(sandbox.path("elsewhere/npmrc"), "project/.npmrc");
  EXPECT_THAT(sandbox.found(), ElementsAre("a.test:443 npm registry .npmrc:1 project"));
}

TEST(DiscoveryTrust, WhereTheProjectIsTheHomeDirectoryNothingOfItIsTrusted) {
  Sandbox sandbox;
  sandbox.write("project/.npmrc", "registry=https://a.test\n");
  sandbox.machine.home = sandbox.path("project");
  EXPECT_THAT(sandbox.found(), ElementsAre("a.test:443 npm registry ~/.npmrc:1 project",
                                           "a.test:443 npm registry .npmrc:1 project"));
}

TEST(DiscoveryTrust, ADirectoryWithTheSameBeginningIsAnotherOne) {
  Sandbox sandbox;
  sandbox.write("project-of-mine/npmrc", "registry=https://a.test\n");
  sandbox.link(sandbox.path("project-of-mine/npmrc"), "home/.npmrc");
  EXPECT_THAT(sandbox.found(), ElementsAre("a.test:443 npm registry ~/.npmrc:1 user"));
}

TEST(DiscoveryTrust, AMirrorListNamedByAnUntrustedSourceIsNotRead) {
  Sandbox sandbox;
  sandbox.write("system/etc/apt/mirrors.list", "https://a.test/debian\n");
  sandbox.write("project/x.list", "deb mirror+file:/etc/apt/mirrors.list x main\n");
  sandbox.link(sandbox.path("project/x.list"), "system/etc/apt/sources.list.d/x.list");
  EXPECT_THAT(sandbox.found(), testing::IsEmpty());
}

}  // namespace
}  // namespace sluice::allowlists::discover
