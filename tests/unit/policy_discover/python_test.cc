#include "sandbox.h"

namespace sluice::allowlists::discover {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(Pip, ConfigurationOfUserAndSystem) {
  Sandbox sandbox;
  sandbox.write(
      "home/xdg/pip/pip.conf",
      "[global]\nindex-url = https://user:secret@one.example.com/simple\n"
      "extra-index-url =\n    https://two.example.com/simple\n    http://three.example.com/\n"
      "trusted-host = no.example.com\n");
  sandbox.write("home/.pip/pip.conf", "[install]\nfind-links: https://four.example.com/ /srv\n");
  sandbox.write("system/etc/pip.conf", "[global]\nindex_url=https://five.example.com\n");
  sandbox.machine.environment["XDG_CONFIG_HOME"] = sandbox.path("home/xdg");
  sandbox.machine.environment["PIP_CONFIG_FILE"] = "/dev/null";
  EXPECT_THAT(sandbox.found(),
              ElementsAre("one.example.com:443 pip index ~/xdg/pip/pip.conf:2 user",
                          "two.example.com:443 pip index ~/xdg/pip/pip.conf:4 user",
                          "three.example.com:80 pip index ~/xdg/pip/pip.conf:5 user",
                          "four.example.com:443 pip index ~/.pip/pip.conf:2 user",
                          "five.example.com:443 pip index /etc/pip.conf:2 user"));
  EXPECT_THAT(sandbox.warnings(), IsEmpty());
}

TEST(Pip, VariablesOfPipAndUv) {
  Sandbox sandbox;
  sandbox.machine.environment = {
      {"PIP_INDEX_URL", "https://a.example.com"},
      {"PIP_EXTRA_INDEX_URL", "https://b.example.com https://c.example.com"},
      {"UV_INDEX_URL", "https://d.example.com"},
      {"UV_DEFAULT_INDEX", "main=https://e.example.com"},
      {"UV_INDEX", "x=https://f.example.com https://g.example.com/?a=b"}};
  EXPECT_THAT(sandbox.found(),
              UnorderedElementsAre("a.example.com:443 pip index $PIP_INDEX_URL user",
                                   "b.example.com:443 pip index $PIP_EXTRA_INDEX_URL user",
                                   "c.example.com:443 pip index $PIP_EXTRA_INDEX_URL user",
                                   "d.example.com:443 uv index $UV_INDEX_URL user",
                                   "e.example.com:443 uv index $UV_DEFAULT_INDEX user",
                                   "f.example.com:443 uv index $UV_INDEX user",
                                   "g.example.com:443 uv index $UV_INDEX user"));
}

TEST(Pip, RequirementsFilesAndWhatTheyInclude) {
  Sandbox sandbox;
  sandbox.write("project/requirements.txt",
                "# --index-url https://no.test\n--index-url=https://one.test/simple\n"
                "--extra-index-url \\\n  https://two.test\n-f https://three.test/wheels\n"
                "-r more/base.txt\n-r ../../outside.txt\n-r /etc/hosts\n");
  sandbox.write("project/more/base.txt",
                "-i https://four.test # https://no.test\nflask==1 --hash=sha256:1\n"
                "pkg @ https://five.test/pkg.whl\n-e git+ssh://git@git.test/x.git@v1#egg=x\n"
                "-r ../requirements.txt\n--proxy http://no.test\n");
  sandbox.write("outside.txt", "-i https://no.test\n");
  sandbox.write("project/requirements-dev.txt", "six@https://six.test/six.whl\n");
  EXPECT_THAT(
      sandbox.found(),
      UnorderedElementsAre("one.test:443 pip index requirements.txt:2 project",
                           "two.test:443 pip index requirements.txt:3 project",
                           "three.test:443 pip index requirements.txt:5 project",
                           "four.test:443 pip index more/base.txt:1 project",
                           "five.test:443 python requirement more/base.txt:3 project",
                           "git.test:22 off python requirement more/base.txt:4 project",
                           "six.test:443 python requirement requirements-dev.txt:1 project"));
}

TEST(PythonProjects, SourcesOfPoetryPdmUvAndPipenv) {
  Sandbox sandbox;
  sandbox.write(
      "project/pyproject.toml",
      "[[tool.poetry.source]]\nname = 'x'\nurl = 'https://one.test/simple'\n"
      "[[tool.uv.index]]\nurl = 'https://two.test'\n[tool.uv]\n"
      "extra-index-url = ['https://three.test']\n[[tool.pdm.source]]\n"
      "url = 'https://u:secret@four.test'\n[tool.poetry.dependencies]\n"
      "d = {git = 'https://five.test/d.git'}\n[project.urls]\nhome = 'https://no.test'\n");
  sandbox.write("project/Pipfile", "[[source]]\nurl = \"https://six.test/simple\"\n");
  sandbox.write("project/uv.toml", "[pip]\nindex-url = \"https://seven.test\"\n");
  sandbox.write("project/uv.lock",
                "[[package]]\nsource = { registry = \"https://eight.test/simple\" }\n");
  sandbox.write("project/Pipfile.lock", "{\"sources\": [{\"url\": \"https://nine.test\"}]}\n");
  EXPECT_THAT(sandbox.found(),
              UnorderedElementsAre("one.test:443 pip index pyproject.toml:3 project",
                                   "two.test:443 uv index pyproject.toml:5 project",
                                   "three.test:443 uv index pyproject.toml:7 project",
                                   "four.test:443 pip index pyproject.toml:9 project",
                                   "five.test:443 python requirement pyproject.toml:11 project",
                                   "six.test:443 pip index Pipfile:2 project",
                                   "seven.test:443 uv index uv.toml:2 project",
                                   "eight.test:443 python lock file uv.lock:2 project",
                                   "nine.test:443 python lock file Pipfile.lock:1 project"));
}

}  // namespace
}  // namespace sluice::allowlists::discover
