// cargo, go, Maven and apt.
#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(Cargo, RegistriesReplacedSourcesAndGitDependencies) {
  Sandbox sandbox;
  sandbox.write("home/.cargo/config.toml",
                "[source.crates-io]\nreplace-with = 'corp'\n[source.corp]\n"
                "registry = 'sparse+https://corp.example.com/index/'\n");
  sandbox.write("project/.cargo/config", "[registries.x]\nindex = 'https://x.test/git/index'\n");
  sandbox.write(
      "project/Cargo.toml",
      "[package]\nname = 'p'\n[dependencies]\na = '1'\nb = {git = 'ssh://git@git.test/b'}\n"
      "[target.'cfg(unix)'.dependencies]\nc = {git = 'https://c.test/c', branch = 'x'}\n");
  sandbox.write("project/Cargo.lock",
                "[[package]]\nname = \"a\"\nsource = \"registry+https://lock.test/index\"\n");
  sandbox.machine.environment["CARGO_REGISTRIES_Y_INDEX"] = "sparse+https://y.example.com/";
  EXPECT_THAT(sandbox.found(),
              ElementsAre("y.example.com:443 cargo registry $CARGO_REGISTRIES_Y_INDEX user",
                          "corp.example.com:443 cargo registry ~/.cargo/config.toml:4 user",
                          "x.test:443 cargo registry .cargo/config:2 project",
                          "git.test:22 off cargo dependency Cargo.toml:5 project",
                          "c.test:443 cargo dependency Cargo.toml:7 project",
                          "lock.test:443 cargo lock file Cargo.lock:3 project"));
}

TEST(Go, ProxiesChecksumDatabasesAndPrivateModules) {
  Sandbox sandbox;
  sandbox.write("home/.config/go/env",
                "GOPROXY=https://one.example.com|https://two.example.com,direct\n"
                "GOSUMDB=sum.example.com+033de0ae+key https://sumdb.example.com\n"
                "GOPRIVATE=git.example.com/team,*.corp.example\nGOFLAGS=-mod=mod\n");
  sandbox.machine.environment = {{"GOPROXY", "off"}, {"GOSUMDB", "sum.example.org"}};
  EXPECT_THAT(sandbox.found(),
              ElementsAre("sum.example.org:443 go checksum database $GOSUMDB user",
                          "one.example.com:443 go module proxy ~/.config/go/env:1 user",
                          "two.example.com:443 go module proxy ~/.config/go/env:1 user",
                          "sumdb.example.com:443 go checksum database ~/.config/go/env:2 user",
                          "git.example.com:443 go private module ~/.config/go/env:3 user"));
  EXPECT_THAT(sandbox.warnings(),
              ElementsAre("~/.config/go/env:3:1: error: private go modules come from hosts that a "
                          "pattern names\n"
                          "hint: write a rule for those of them that are needed"));
}

TEST(Go, ModulesOfAGoModAreReachedOnlyWithoutAProxy) {
  Sandbox sandbox;
  sandbox.write("project/go.mod",
                "module no.test/m\ngo 1.21\nrequire one.test/a v1.0.0\nrequire (\n"
                "\ttwo.test/b v1.0.0 // indirect\n\tgolang/x v1\n)\n"
                "replace two.test/b => three.test/c v1.2.3\nreplace x => ../y\n");
  EXPECT_THAT(
      sandbox.found(),
      ElementsAre("one.test:443 go module (only where GOPROXY says direct) go.mod:3 project",
                  "two.test:443 go module (only where GOPROXY says direct) go.mod:5 project",
                  "three.test:443 go module (only where GOPROXY says direct) go.mod:8 project"));
}

TEST(Maven, RepositoriesAndMirrorsButNotWhereReleasesGo) {
  Sandbox sandbox;
  sandbox.write("home/.m2/settings.xml",
                "<settings xmlns=\"urn:x\">\n<servers><server><password>secret</password></server>"
                "</servers>\n<mirrors><mirror>\n<url> https://mirror.example.com/maven </url>"
                "</mirror></mirrors></settings>\n");
  sandbox.write("project/pom.xml",
                "<project>\n<url>https://no.test</url>\n<repositories><repository>\n"
                "<url>https://one.test/m2</url></repository></repositories>\n"
                "<profiles><profile><pluginRepositories><pluginRepository>\n"
                "<url>http://two.test</url></pluginRepository></pluginRepositories></profile>"
                "</profiles>\n<distributionManagement><repository><url>https://no.test</url>"
                "</repository></distributionManagement>\n</project>\n");
  EXPECT_THAT(sandbox.found(),
              ElementsAre("mirror.example.com:443 maven mirror ~/.m2/settings.xml:4 user",
                          "one.test:443 maven repository pom.xml:4 project",
                          "two.test:80 maven repository pom.xml:6 project"));
}

TEST(Maven, TheMirrorThatBlocksPlainHttpIsNone) {
  Sandbox sandbox;
  sandbox.write("project/pom.xml", "<project/>");
  sandbox.write("system/etc/maven/settings.xml",
                "<settings><mirrors><mirror><mirrorOf>external:http:*</mirrorOf>"
                "<url>http://0.0.0.0/</url><blocked>true</blocked></mirror></mirrors></settings>");
  EXPECT_THAT(sandbox.found(), IsEmpty());
  EXPECT_THAT(sandbox.warnings(), IsEmpty());
  EXPECT_EQ(sandbox.findings().notes().size(), 1u);
}

TEST(Apt, BothFormatsOfItsSourcesAndListsOfMirrors) {
  Sandbox sandbox;
  sandbox.write(
      "system/etc/apt/sources.list",
      "# deb https://no.test x main\ndeb [arch=amd64 signed-by=/k] https://one.test/debian x main\n"
      "deb-src http://two.test:8080/debian x main # c\ndeb cdrom:[Debian 12]/ x main\n"
      "deb file:/srv/apt x main\ndeb mirror+file:/etc/apt/mirrors.list x main\n"
      "deb mirror://three.test/list x main\n");
  sandbox.write("system/etc/apt/mirrors.list", "# c\nhttps://four.test/debian\tpriority:1\n");
  sandbox.write(
      "system/etc/apt/sources.list.d/x.sources",
      "Types: deb\nURIs: https://five.test/debian\n https://six.test/debian\nSuites: x\n\n"
      "Types: deb\nEnabled: no\nURIs: https://no.test/debian\n\n"
      "# c\nuris: tor+https://seven.test/debian\n");
  sandbox.write("system/etc/apt/sources.list.d/x.list.save", "deb https://no.test x main\n");
  const std::string folder = "/etc/apt/sources.list";
  EXPECT_THAT(sandbox.found(),
              UnorderedElementsAre("one.test:443 apt source " + folder + ":2 user",
                                   "two.test:8080 apt source " + folder + ":3 user",
                                   "four.test:443 apt source /etc/apt/mirrors.list:2 user",
                                   "three.test:80 apt source " + folder + ":7 user",
                                   "five.test:443 apt source " + folder + ".d/x.sources:2 user",
                                   "six.test:443 apt source " + folder + ".d/x.sources:3 user",
                                   "seven.test:443 apt source " + folder + ".d/x.sources:11 user"));
  EXPECT_THAT(
      sandbox.warnings(),
      ElementsAre("/etc/apt/sources.list:7:1: error: the mirrors behind this apt source are "
                  "listed on its server\n"
                  "hint: add a rule for each host that the list names"));
}

}  // namespace
}  // namespace sluice::allowlists::discover
