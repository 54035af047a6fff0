"""The Debian package on a machine: installed, run, upgraded under load, removed and purged."""

import filecmp
import glob
import os
import re
import shutil
import socket
import subprocess
import tempfile

import world
from agent import Case, curl
from installed import Machine
from shared import FOLDER, SOCKET
from test_activation import ACTIVATE, listening
from test_take_over import LOOP

POLICY = "/etc/sluice/policy.yaml"
CONFIG = "/etc/sluice/sluiced.yaml"
ALLOWING = "version: 1\nagents: {'*': {allow: [{host: allowed.test}]}}\n"
# What dpkg, its triggers and the tools that make users write for every package.
NOT_OURS = re.compile(
    r"/var/lib/(dpkg|systemd/deb-systemd-helper-\w+|man-db)(/|$)|/var/log/(dpkg|alternatives)\.log$"
    r"|/var/cache/(man|ldconfig)(/|$)|/etc/ld\.so\.cache$|/etc/(passwd|group|g?shadow)-$|/etc/\.pwd\.lock$"
)  # fmt: skip
ACCOUNTS = {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"}


class Package(Case):
    def setUp(self):
        super().setUp()
        self.machine = Machine()
        self.addCleanup(self.machine.end)
        self.of_the_host = self.paths()  # of whoever has run sluice there: not on the test's machine
        for path in self.of_the_host:
            self.on("rm", "-rf", path)
        os.makedirs(FOLDER, exist_ok=True)
        self.addCleanup(shutil.rmtree, FOLDER, True)

    def on(self, *command, status=0, timeout=300):
        environment = {**self.environment, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            self.machine.command(*command), env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout, cwd="/",
        )  # fmt: skip
        self.assertEqual(done.returncode, status, f"{command}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def install(self, package=world.DEB):
        self.on("dpkg", "--force-unsafe-io", "-i", package, timeout=300)

    def put(self, path, text):
        with open(f"{self.machine.folder}/root{path}", "w") as file:
            file.write(text)

    def paths(self):
        """The files and directories on the machine that have sluice's name, or are its own."""
        root = f"{self.machine.folder}/root"
        found = glob.glob(f"{root}/etc/**/*sluice*", recursive=True)
        found += glob.glob(f"{root}/var/l[io][bg]/sluice*")
        return {path[len(root) :] for path in found}

    def newer(self):
        """The same package, of a higher version."""
        folder = tempfile.mkdtemp(dir="/home")
        self.addCleanup(shutil.rmtree, folder)
        self.on("dpkg-deb", "-R", world.DEB, f"{folder}/tree")
        control = f"{folder}/tree/DEBIAN/control"
        with open(control) as file:
            text = re.sub(r"(?m)^Version: .*", "Version: 99.0", file.read())
        with open(control, "w") as file:
            file.write(text)
        self.on("dpkg-deb", "-Znone", "-b", f"{folder}/tree", f"{folder}/newer.deb")
        return f"{folder}/newer.deb"

    def agent(self, script):
        """A command line that runs `script` on the machine as the agent coder-1."""
        line = ["/usr/bin/sluice", "run", "--agent", "coder-1", "--workspace", self.workspace]
        return self.machine.command(*line, "--", "bash", "-c", f"cd {self.workspace}\n{script}")

    def start_sluiced(self, sockets, *more):
        """As its unit would: the package's own user, without any capability, and systemd's sockets."""
        for at, made in enumerate(sockets):
            os.dup2(made.fileno(), 100 + at, inheritable=True)
        program = ["/usr/bin/sluiced", "--config", CONFIG, *more]
        if sockets:
            program = [world.PYTHON, "-c", ACTIVATE, str(len(sockets)), *program]
        passed = range(100, 100 + len(sockets))
        identity = ["setpriv", "--reuid=sluice", "--regid=sluice", "--clear-groups", "--no-new-privs",
                    "--bounding-set=-all", "--inh-caps=-all"]  # fmt: skip
        daemon = subprocess.Popen(
            self.machine.command(*identity, *program), env=self.environment, pass_fds=passed,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        for number in passed:
            os.close(number)
        self.addCleanup(daemon.communicate)
        self.addCleanup(daemon.kill)
        return daemon

    def test_it_installs_everything_enables_nothing_and_runs_an_agent(self):
        before = self.on("find", "/etc/systemd/system", "-type", "l")
        self.install()
        for program, text in (("sluice", "sluice "), ("sluiced", ""), ("sluice-netns", "")):
            self.assertRegex(self.on(program, "--version"), rf"^{text}\d+\.\d+\.\d+\n$")
        self.on("sluice", "policy", "check", POLICY)
        self.assertIn(" may not ", self.on("sluice", "policy", "explain", POLICY, "a", "x.test", status=1))
        self.on("sluiced", "--check", "--config", CONFIG)
        owners = self.on("stat", "-c", "%U:%G %a", CONFIG, POLICY, FOLDER, "/var/lib/sluice",
                         "/var/lib/sluice/sluiced", "/var/log/sluice")  # fmt: skip
        self.assertEqual(
            owners.split("\n")[:-1],
            ["root:sluice 640", "root:root 644", "root:root 755", "root:root 755",
             "sluice:sluice 750", "sluice:sluice 750"],
        )  # fmt: skip
        self.assertIn("nologin", self.on("getent", "passwd", "sluice"))
        self.assertEqual(self.on("find", "/etc/systemd/system", "-type", "l"), before)
        self.assertEqual(self.on("readlink", "-f", "/usr/lib/cni/sluice-netns"), "/usr/bin/sluice-netns\n")
        for page in ("1 sluice", "8 sluiced", "8 sluice-netns", "5 sluice-policy", "5 sluiced.yaml"):
            section, name = page.split()
            self.on("gzip", "-t", f"/usr/share/man/man{section}/{name}.{section}.gz")
        # Nothing is allowed until somebody says so; the agent of the package is an embedded sluiced's.
        fetch = " ".join(curl("-o", "/dev/null", "https://allowed.test/"))
        refused = self.finish(self.start(self.agent(fetch)))
        self.assertNotEqual(refused.status, 0, refused)
        self.assertRegex(refused.err, r"coder-1: allowed 0, blocked [1-9]")
        self.put(POLICY, ALLOWING)
        reached = self.finish(self.start(self.agent(fetch)))
        self.assertEqual(reached.status, 0, reached)

    def test_an_upgrade_under_load_refuses_no_request_and_keeps_the_configuration(self):
        self.install()
        self.put(POLICY, ALLOWING)
        sockets = [
            listening(socket.AF_UNIX, socket.SOCK_SEQPACKET, SOCKET),
            listening(socket.AF_UNIX, socket.SOCK_STREAM, f"{FOLDER}/admin.sock"),
        ]
        for made in sockets:
            self.addCleanup(made.close)
        os.chmod(SOCKET, 0o666)
        old = self.start_sluiced(sockets)
        fetch = " ".join(curl("-o", "/dev/null", "https://allowed.test/"))
        agent = self.start(self.agent(LOOP.format(fetch=fetch)))
        self.addCleanup(agent.communicate)
        self.addCleanup(agent.kill)
        self.assertTrue(self.outside.wait_for("tcp", lambda _: True), "the agent reaches nothing")
        self.install(self.newer())
        self.assertIn("99.0", self.on("dpkg-query", "-W", "sluice"))
        # What postinst has systemd do.
        new = self.start_sluiced([], "--take-over")
        self.assertEqual(old.wait(60), 0)
        self.assertIsNone(new.poll())
        self.outside.mark()
        self.assertTrue(self.outside.wait_for("tcp", lambda _: True), "it reaches nothing any more")
        self.write(f"{self.workspace}/stop", "")
        run = self.finish(agent)
        self.assertEqual(run.status, 0, run)
        self.assertNotIn("FAILED", run.out, run)
        self.assertRegex(run.err, r"coder-1: allowed [1-9]\d*, blocked 0\b")
        self.assertEqual(self.on("cat", POLICY), ALLOWING)

    def test_removed_it_keeps_the_configuration_and_purged_it_leaves_nothing(self):
        self.assertEqual(self.paths(), set())
        self.install()
        self.put(POLICY, ALLOWING)
        self.put("/var/log/sluice/audit.jsonl", "{}\n")
        self.put("/var/lib/sluice/sluiced/budgets", "")
        self.on("dpkg", "--force-unsafe-io", "-r", "sluice", timeout=300)
        self.on("test", "!", "-e", "/usr/bin/sluiced")
        self.assertEqual(self.on("cat", POLICY), ALLOWING)
        self.on("test", "-e", "/var/log/sluice/audit.jsonl", "-a", "-e", "/var/lib/sluice/sluiced/budgets")
        self.on("dpkg", "--force-unsafe-io", "-P", "sluice", timeout=300)
        self.assertEqual(self.paths(), set())
        self.assertFalse(os.path.exists(FOLDER))
        changed = {path for path in self.machine.changed() - self.of_the_host if not NOT_OURS.search(path)}
        self.assertLessEqual(changed, ACCOUNTS)
        for path in changed:
            same = filecmp.cmp(path, f"{self.machine.folder}/root{path}", shallow=False)
            self.assertTrue(same, f"{path} is not as before")
        self.assertNotIn("sluice", self.on("dpkg-query", "-W", "-f", "${Package}\n"))
