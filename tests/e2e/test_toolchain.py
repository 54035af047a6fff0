"""The tools of a working day inside the sandbox: what a project is fetched, built and debugged with."""

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import unittest
import zipfile

import agent
import world

SITE = f"{world.BASE}/site"
ORIGIN = "https://allowed.test/site"

UNIT = "int f{n}(int x) {{ return x + {n}; }}\n"
MAKEFILE = """
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
sum: $(OBJECTS)
\t$(CC) -o $@ $^
"""

CRASH = """
static int depth(int *at, int left) { return left ? depth(at, left - 1) + 1 : *at; }
int main(void) { return depth((int *)0, 3); }
"""


def publish(path, content):
    """Makes a file of the origin's site."""
    target = f"{SITE}/{path}"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(content)


def wheel():
    """A wheel with one module (PEP 427)."""
    made = io.BytesIO()
    info = "sample_words-1.0.dist-info"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("sample_words.py", "WORD = 'fetched'\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sample-words\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return made.getvalue()


def node_package():
    """The tarball of a package with one module and a script that runs when it is installed."""
    made = io.BytesIO()
    described = {"name": "sample-words", "version": "1.0.0", "main": "index.js",
                 "scripts": {"postinstall": "node -e \"require('fs').writeFileSync('built', 'yes')\""}}  # fmt: skip
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in (("package.json", json.dumps(described)), ("index.js", "module.exports = 'fetched';\n")):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


class Fetching(agent.Case):
    def test_git_clones_and_commits(self):
        project = f"{SITE}/project.git"
        made = f"""
            set -e
            export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
            rm -rf {project} && git init -q -b main {project}
            cd {project} && echo one > one && git add one && git commit -qm one && git update-server-info
        """
        subprocess.run(["bash", "-c", made], check=True)
        run = self.shell(
            f"git -c http.sslCAInfo=ca.pem clone -q {ORIGIN}/project.git/.git fetched && cd fetched && echo two > two "
            "&& git add two && git -c user.name=t -c user.email=t@t commit -qm two && git log --format=%s"
        )
        self.assertEqual(run.out.split(), ["two", "one"], run)

    def test_pip_installs_from_an_allowed_index_alone(self):
        publish("wheels/sample_words-1.0-py3-none-any.whl", wheel())
        publish("wheels.html", b'<a href="wheels/sample_words-1.0-py3-none-any.whl">sample_words</a>')
        pip = f"{world.PYTHON} -m pip install -q --no-index --cert ca.pem --disable-pip-version-check --no-cache-dir"
        run = self.shell(
            f"{pip} --target fetched --find-links {ORIGIN}/wheels.html sample-words 1>&2 && "
            f"PYTHONPATH=fetched {world.PYTHON} -c 'import sample_words; print(sample_words.WORD)'"
        )
        self.assertEqual(run.out, "fetched\n", run)
        refused = self.shell(f"{pip} --retries 0 --target x --find-links https://other.test/wheels.html sample-words", status=1)
        self.assertIn("(not_listed)", refused.err)

    def test_npm_installs_from_an_allowed_registry_and_runs_its_scripts(self):
        tarball = node_package()
        sum = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        publish("npm/sample-words-1.0.0.tgz", tarball)
        dist = {"tarball": f"{ORIGIN}/npm/sample-words-1.0.0.tgz", "integrity": f"sha512-{sum}"}
        version = {"name": "sample-words", "version": "1.0.0", "dist": dist, "hasInstallScript": True}
        document = {"name": "sample-words", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        publish("npm/sample-words", json.dumps(document).encode())
        run = self.shell(
            "echo '{\"name\":\"project\",\"version\":\"1.0.0\"}' > package.json && "
            f"npm install --cafile ca.pem --no-update-notifier --registry {ORIGIN}/npm/ --no-audit --no-fund sample-words 1>&2 && "
            "node -e \"console.log(require('sample-words'))\" && cat node_modules/sample-words/built",
        )
        self.assertEqual(run.out, "fetched\nyes", run)


class Building(agent.Case):
    def test_make_builds_a_small_project_with_many_jobs(self):
        for n in range(12):
            self.write(f"{self.workspace}/f{n}.c", UNIT.format(n=n))
        calls = " + ".join(f"f{n}(1)" for n in range(12))
        declared = "".join(f"int f{n}(int);" for n in range(12))
        self.write(f"{self.workspace}/main.c", f"{declared} int main(void) {{ return {calls}; }}\n")
        self.write(f"{self.workspace}/Makefile", MAKEFILE)
        run = self.shell("make -s -j 8 && ./sum; echo $?")
        self.assertEqual(run.out, f"{sum(range(12)) + 12}\n", run)

    def test_gdb_runs_a_program_and_says_where_it_crashed(self):
        self.write(f"{self.workspace}/crash.c", CRASH)
        run = self.shell("gcc -g -O0 -o crash crash.c && gdb -q -batch -nx -ex run -ex bt ./crash 2>&1")
        self.assertIn("SIGSEGV", run.out, run)
        self.assertRegex(run.out, r"#4 .* main \(\) at crash.c:3", run)

    def test_gdb_attaches_to_a_program_that_runs(self):
        self.write(f"{self.workspace}/wait.c", "#include <unistd.h>\nint main(void) { return pause(); }\n")
        run = self.shell("gcc -g -o wait wait.c && { ./wait & } && gdb -q -batch -nx -p $! -ex bt 2>&1; kill $!")
        self.assertRegex(run.out, r"main \(\) at wait.c:2", run)

    def test_strace_sees_the_system_calls_of_a_child(self):
        run = self.shell("strace -f -e trace=execve sh -c '/bin/echo seen; true' 2>&1")
        self.assertIn('execve("/bin/echo"', run.out, run)


if __name__ == "__main__":
    unittest.main()
