#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

void use_every_tool(const Sandbox& sandbox) {
  sandbox.write("project/package.json", "{}");
  sandbox.write("project/requirements.txt", "flask\n");
  sandbox.write("project/Cargo.toml", "[package]\n");
  sandbox.write("project/go.mod", "module m\n");
  sandbox.write("project/pom.xml", "<project/>");
}

TEST(ToolDefaults, AreAQuestionForTheOperatorWhereNothingSaysThem) {
  Sandbox sandbox;
  use_every_tool(sandbox);
  sandbox.write("project/build.gradle.kts", "repositories {}\n");
  EXPECT_THAT(sandbox.found(), IsEmpty());
  EXPECT_THAT(
      sandbox.findings().notes(),
      UnorderedElementsAre(
          "npm is used here (package.json) and nothing names its default registry: "
          "'npm config get registry' prints it",
          "pip is used here (requirements.txt) and nothing names its default registry: "
          "'pip download -v --no-deps NAME' prints it, and the host that the files come from",
          "cargo is used here (Cargo.toml) and nothing names its default registry: the chapter on "
          "registries of cargo's book names it; it says 'crates-io' for it",
          "go is used here (go.mod) and nothing names its default registry: "
          "'go env GOPROXY GOSUMDB' prints it",
          "maven is used here (pom.xml) and nothing names its default registry: "
          "'mvn help:effective-pom' prints it under repositories",
          "gradle is used here (build.gradle.kts) and is not asked: its files are programs; their "
          "'repositories' blocks name its hosts"));
}

TEST(ToolDefaults, AreReadFromTheInstalledToolsOwnFiles) {
  Sandbox sandbox;
  use_every_tool(sandbox);
  sandbox.write(
      "system/usr/lib/node_modules/npm/node_modules/@npmcli/config/lib/definitions/"
      "definitions.js",
      "  registry: new Definition('registry', {\n    default: 'https://npm.example.com/',\n");
  sandbox.write("system/usr/lib/python3.11/site-packages/pip/_internal/models/index.py",
                "PyPI = PackageIndex(\n    \"https://pip.example.com/\", "
                "file_storage_domain=\"files.example.com\"\n)\nTestPyPI = PackageIndex("
                "\"https://no.example.com/\", file_storage_domain=\"no2.example.com\")\n");
  sandbox.write("system/usr/local/go/go.env",
                "# c\nGOPROXY=https://go.example.com,direct\nGOSUMDB=sum.example.com\n");
  EXPECT_THAT(
      sandbox.found(),
      UnorderedElementsAre(
          testing::MatchesRegex("npm.example.com:443 npm registry .npm's own default. "
                                "/usr/lib/node_modules/.*/definitions.js:2 user"),
          testing::MatchesRegex("pip.example.com:443 pip index .pip's own default. .*:2 user"),
          testing::MatchesRegex("files.example.com:443 pip index .* user"),
          "go.example.com:443 go module proxy /usr/local/go/go.env:2 user",
          "sum.example.com:443 go checksum database /usr/local/go/go.env:3 user"));
}

TEST(ToolDefaults, AreNotAskedForWhereAConfigurationReplacesThemOrTheToolIsNotUsed) {
  Sandbox sandbox;
  const std::string definitions =
      "system/usr/share/nodejs/@npmcli/config/lib/definitions/definitions.js";
  sandbox.write(definitions, "define('registry', {\n  default: 'https://npm.example.com/',\n");
  EXPECT_THAT(sandbox.found(), IsEmpty());
  sandbox.write("project/package.json", "{}");
  EXPECT_EQ(sandbox.found().size(), 1u);
  sandbox.write("project/.npmrc", "@scope:registry=https://scope.test\n");
  EXPECT_EQ(sandbox.found().size(), 2u);
  sandbox.write("project/.npmrc", "registry=https://mirror.test\n");
  EXPECT_THAT(sandbox.found(), ElementsAre("mirror.test:443 npm registry .npmrc:1 project"));
}

}  // namespace
}  // namespace sluice::allowlists::discover
