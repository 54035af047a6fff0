"""Runs `sluice run` as root or as an ordinary user, and reads what came of it."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import textwrap
import time
import unittest

import world

ORDINARY_UID = 61234  # without a line in /etc/passwd
PATIENT = 120  # seconds: costs nothing where all is well
PATIENCE = float(os.environ.get("SLUICE_E2E_PATIENCE", "1"))  # how many times slower this machine is
# A control group (cgroup v2): each command of the ordinary user has one of its own below it, as
# `systemd-run --user --scope -p Delegate=yes` makes them.
DELEGATED = os.environ.get("SLUICE_E2E_DELEGATED", "")
SCOPE = """
    scope=$(mktemp -d "$0/run.XXXXXX") && chown "$1" "$scope" "$scope"/cgroup.{procs,subtree_control} &&
    echo $$ >"$scope/cgroup.procs" && shift && exec "$@"
"""
AT_ONCE = 8000  # ms: refused by an answer, not by sluiced's deadline of 10 s or by a client that gave up

POLICY = """
version: 1
agents:
  coder-1:
    allow:
      - host: allowed.test
      - host: "*.wild.test"
        ports: [80, 443, 8443]
      - host: ssh.test
        ports: [22]
        tls: "off"
"""

ASIDE = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
_numbers = itertools.count(1)


def is_root():
    return os.environ["SLUICE_E2E_IDENTITY"] == "root"


def as_ordinary(*command):
    """The command line that runs `command` as the ordinary user."""
    if os.environ["SLUICE_E2E_WORLD"] == "root":
        identity = [f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups"]
        scope = ["bash", "-c", SCOPE, DELEGATED, str(ORDINARY_UID)] if DELEGATED else []
        return [*scope, "setpriv", *identity, "--", *command]
    ids = [f"--map-user={ORDINARY_UID}", f"--map-group={ORDINARY_UID}"]
    return ["unshare", "--user", *ids, "--", *command]


def has_groups():
    """Whether this caller's agents are limited by control groups, and not by rlimits."""
    return is_root() or bool(DELEGATED)


def decisions(path):
    """The whole lines of an audit log but those of the commands log and of agents' ends."""
    with open(path) as file:
        lines = [json.loads(line) for line in file if line.endswith("\n")]
    return [line for line in lines if line["via"] != "exec" and line.get("event") != "agent_end"]


@dataclasses.dataclass
class Run:
    status: int
    out: str
    err: str
    seconds: float

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"exit status {self.status}\n-- stdout\n{self.out}\n-- stderr\n{self.err}"


class Case(unittest.TestCase):
    """One fresh workspace and policy file a test; the outside's log starts anew."""

    policy = POLICY
    maxDiff = 8000

    @classmethod
    def setUpClass(cls):
        for name in ("sluice", "sluiced"):
            if not os.access(f"{world.BIN}/{name}", os.X_OK):
                raise AssertionError(f"{name} is not in SLUICE_BIN")

    def setUp(self):
        number = next(_numbers)
        self.home = "/root" if is_root() else "/home/agent"
        # Root's own home is closed to every other uid, also to the one its agent gets.
        self.workspace = f"/home/work-{number}"
        self.policy_file = f"{self.home}/config-{number}/my.yaml"
        for folder in (self.home, os.path.dirname(self.policy_file), self.workspace):
            os.makedirs(folder, exist_ok=True)
            self.own(folder)
        self.write(self.policy_file, textwrap.dedent(self.policy))
        shutil.copytree(world.INSIDE, f"{self.workspace}/inside")
        with open(world.CA) as file:
            self.write(f"{self.workspace}/ca.pem", file.read())
        self.environment = {**ASIDE, "HOME": self.home, "TERM": "dumb"}
        if not is_root():
            runtime = f"/run/user/{ORDINARY_UID}"
            os.makedirs(runtime, mode=0o700, exist_ok=True)
            self.own(runtime)
            self.environment["XDG_RUNTIME_DIR"] = runtime
        self.outside = world.outside()
        self.outside.mark()
        self._before = set(world.processes())

    def tearDown(self):
        """Nothing that a test started outlives it, whatever happened to it: names and locks are free then."""
        end = time.monotonic() + 60
        while (left := set(world.processes()) - self._before) and time.monotonic() < end:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)

    def own(self, path):
        """Gives `path` to the caller's identity."""
        if os.environ["SLUICE_E2E_WORLD"] == "root":
            uid = 0 if is_root() else ORDINARY_UID
            os.chown(path, uid, uid)

    def write(self, path, text):
        with open(path, "w") as file:
            file.write(text)
        self.own(path)
        return path

    # -- running ----------------------------------------------------------------------------------

    def command(self, *arguments):
        """The command line of sluice, as this test's identity."""
        line = [f"{world.BIN}/sluice", *arguments]
        return line if is_root() else as_ordinary(*line)

    def start(self, command, stdin=subprocess.DEVNULL):
        return subprocess.Popen(
            command,
            cwd=self.workspace,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self, process, timeout=PATIENT, stdin=None):
        """Waits for `process`; one that does not end is killed with all it started: a failure."""
        started = time.monotonic()
        timeout *= PATIENCE
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            running = world.processes()
            self.tearDown()
            out, err = process.communicate(timeout=60)
            self.fail(f"no end after {timeout} s; running: {running}\n{out}\n{err}")
        seconds = time.monotonic() - started
        out, err = (said.decode(errors="replace") for said in (out, err))
        return Run(process.returncode, out, err, seconds)

    def sluice(self, *arguments, timeout=PATIENT):
        return self.finish(self.start(self.command(*arguments)), timeout)

    def run_line(self, *command, options=()):
        """`sluice run`'s arguments with this test's policy."""
        return ("run", "--policy", self.policy_file, "--agent", "coder-1", *options, "--", *command)

    def start_agent(self, *command, stdin=subprocess.DEVNULL):
        """The agent coder-1, running; `process.stdout` has what it says."""
        return self.start(self.command(*self.run_line(*command)), stdin)

    def run_agent(self, *command, options=(), timeout=PATIENT, status=0):
        """Runs `command` as the agent coder-1; `status` None: any."""
        run = self.sluice(*self.run_line(*command, options=options), timeout=timeout)
        if status is not None:
            self.assertEqual(run.status, status, run)
        return run

    def shell(self, script, **keywords):
        return self.run_agent("bash", "-c", textwrap.dedent(script), **keywords)

    def probe(self, name, *arguments, **keywords):
        """Runs tests/e2e/inside/NAME.py as the agent and answers the JSON it prints."""
        run = self.run_agent(world.PYTHON, f"inside/{name}.py", *arguments, **keywords)
        try:
            return run.json()
        except ValueError:
            self.fail(f"{name}.py printed no JSON\n{run}")

    def wire(self, jobs, **keywords):
        """Runs inside/wire.py: connections with bytes as given, answers by job name."""
        path = self.write(f"{self.workspace}/jobs.json", json.dumps(jobs))
        return self.probe("wire", path, **keywords)

    def control(self, name, *arguments):
        """Runs a probe as an ordinary user without any sandbox: what this machine lets it do."""
        command = as_ordinary(world.PYTHON, f"{world.INSIDE}/{name}.py", *arguments)
        return self.finish(self.start(command)).json()

    # -- what is asserted again and again ---------------------------------------------------------

    def assert_refused_by_http(self, answer, status, reason):
        """`answer` of wire() is an HTTP refusal with its reason, and came at once."""
        reply = answer["reply"]
        self.assertTrue(reply.startswith(f"HTTP/1.1 {status} "), answer)
        self.assertIn(f'details="{reason}"', reply, answer)
        self.assertLess(answer["ms"], AT_ONCE, answer)

    def assert_nothing_left(self, message=""):
        """Nothing but questions to the configured DNS server left the machine."""
        self.assertEqual(self.outside.addresses_reached(), [], message)


def curl(*arguments):
    """A curl command line that prints the body, fails in a minute, and trusts the outside's CA."""
    return ["curl", "-sS", "-m", "60", "--cacert", "ca.pem", *arguments]


NO_PROXY_VARIABLES = (
    "unset HTTP_PROXY HTTPS_PROXY http_proxy https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy; "
)
