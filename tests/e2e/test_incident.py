"""docs/incident.md, played through: the alert fires in a real Prometheus, and the runbook's steps answer it.

A fence ```KIND NAME is a file; a fence ```console holds commands behind `$ ` and what they print. `SLUICE_WALKTHROUGH=incident.md`
prints the document with the output of this run instead.
"""

import json
import os
import pathlib
import re
import subprocess

import agent
import world
from prometheus import SLUICED, Prometheus
from shared import FOLDER, SharedCase
from test_walkthrough import FENCE, commands

FACTOR = 10  # windows of 5 minutes are 30 s: the document says so
PROBES = {("SluiceAgentProbing", "coder-1"), ("SluiceAgentProbesPrivateAddresses", "coder-1")}
QUIET_AGENT = """
curl -sS -o /dev/null https://allowed.test/bytes/1000000
for try in 1 2 3; do curl -s -o /dev/null https://telemetry.other.test/; done
sleep 300
"""


def runbook():
    return pathlib.Path(world.DOCS, "runbook.md").read_text(encoding="utf-8")


def steady(text):
    """Without the length of a TLS handshake, which is another one with every release of OpenSSL."""
    return re.sub(r'(?<="allowed.test":)\d+', "N", text.rstrip("\n"))


class WhatGotOut(SharedCase):
    policy = """
        version: 1
        agents:
          coder-1:
            limits: {upload: 1MiB/day}
            allow: [{host: allowed.test}]
        """

    def test_is_answered_by_the_runbook_also_of_a_tunnel_that_a_budget_cut(self):
        command = re.search(r"Did anything get out\?.*?```sh.*?\n(.*?)\n```", runbook(), re.S)[1]
        self.start_sluiced()
        upload = f"head -c 3000000 /dev/zero > big; {' '.join(agent.curl('--data-binary', '@big', 'https://allowed.test/'))}"
        self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", upload + "; curl -s http://other.test/")
        self.environment |= {"AGENT": "coder-1", "AUDIT": self.audit}

        def answer():
            line = ["sh", "-c", command]
            line = line if agent.is_root() else agent.as_ordinary(*line)
            return json.loads(subprocess.run(line, env=self.environment, stdout=subprocess.PIPE, timeout=60, check=True).stdout)

        self.wait_until(answer, "nothing got out")
        self.assertEqual(answer(), {"allowed.test": 1 << 20})


class Incident(SharedCase):
    admin_address = SLUICED

    def setUp(self):
        super().setUp()
        self.desk = f"{self.home}/desk-{os.path.basename(self.workspace)}"
        for folder in ("", "/coder-1", "/coder-2", "/coder-1/vendor"):
            os.makedirs(f"{self.desk}{folder}")
            self.own(f"{self.desk}{folder}")
        for name in ("coder-1", "coder-2"):
            with open(world.CA) as file:
                self.write(f"{self.desk}/{name}/ca.pem", file.read())
        self.write(f"{self.desk}/coder-2/build.sh", self.trusting(QUIET_AGENT))
        self.environment |= {
            "PATH": f"{world.BIN}:{world.PROMETHEUS}:{self.environment['PATH']}",
            "AGENT": "coder-1",
            "METRICS": f"http://{SLUICED}/metrics",
            "AUDIT": self.audit,
            "ADMIN": f"{FOLDER}/admin.sock",
            "POLICY": self.policy_file,
        }
        self.document = pathlib.Path(world.DOCS, "incident.md").read_text(encoding="utf-8")
        self.writing = os.environ.get("SLUICE_WALKTHROUGH") == "incident.md"
        self.prometheus = Prometheus(self, FACTOR)

    def trusting(self, script):
        return "export CURL_CA_BUNDLE=ca.pem\n" + script

    def shell_of_caller(self, command, stderr=subprocess.PIPE):
        line = ["sh", "-c", command]
        line = line if agent.is_root() else agent.as_ordinary(*line)
        return subprocess.run(
            line, cwd=self.desk, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr, timeout=agent.PATIENT, check=False,
        )  # fmt: skip

    def type(self, command):
        return self.shell_of_caller(command, subprocess.STDOUT).stdout.decode(errors="replace")

    def test_the_alert_fires_and_the_runbook_says_who_what_and_why(self):
        # What has to be true before the commands of a section are typed.
        before = {
            "02:10, the page": self.the_page_comes,
            "Who: from the metrics": self.both_have_done_their_work,
            "The end of it": self.nobody_else_is_named,
            "Afterwards": self.nothing_fires_any_more,
        }
        written = ""
        for section in re.split(r"^(?=## )", self.document, flags=re.MULTILINE):
            heading = section.split("\n", 1)[0].removeprefix("## ")
            before.pop(heading, lambda: None)()
            written += FENCE.sub(self.play, section)
        self.assertEqual(before, {}, "sections that are not there")
        reached = set(self.outside.addresses_reached())
        self.assertTrue(reached and reached <= {world.ALLOWED4, world.ALLOWED6}, reached)
        asked = [name for name in self.outside.questions() if name.endswith((".corp.test", ".other.test"))]
        self.assertEqual(asked, [])
        self.the_runbooks_commands_work()
        if self.writing:
            print("-- document\n" + written + "-- end")

    def play(self, fence):
        kind, name, body = fence.groups()
        if name:
            self.place(name, self.trusting(body) if kind == "sh" else body)
        if kind != "console":
            return fence.group()
        said = ""
        for command, shown in commands(body):
            got = self.type(command)
            said += f"$ {command}\n{got}"
            if not self.writing:
                with self.subTest(command=command):
                    self.assertEqual(steady(got), steady(shown))
        return f"```{kind}\n{said}```"

    def place(self, name, body):
        """A file of the document; the policy is the signal to begin."""
        if name != "policy.yaml":
            self.write(f"{self.desk}/{name}", body)
            return
        self.write(self.policy_file, body)
        self.start_sluiced()
        self.prometheus.start()
        # An agent that is new is told from one that Prometheus had not seen: `up offset 5m` has to be there.
        known = f"up{{job='sluiced'}} offset {300 // FACTOR}s"
        self.wait_until(lambda: self.prometheus.query(known), "Prometheus has no history", 120)

    def the_page_comes(self):
        firing = {}

        def both_fire():
            firing.clear()
            firing.update(self.prometheus.alerts())
            return set(firing) == PROBES

        self.wait_until(both_fire, "no page", 120)
        said = firing[("SluiceAgentProbing", "coder-1")]["annotations"]["description"]
        self.assertRegex(said, r"^coder-1 on \S+ was refused \d+(\.\d+)? times")  # extrapolated where scrapes are late

    def both_have_done_their_work(self):
        """All of it stands in the account: programs when they end, connections when they are over."""
        wanted = {("coder-1", "python3"): 1, ("coder-1", "allow"): 1, ("coder-2", "curl"): 4, ("coder-2", "allow"): 1}

        def counted():
            with open(self.audit) as file:
                lines = [json.loads(line) for line in file if line.endswith("\n")]
            told = [(line["agent"], line["argv"][0] if line["via"] == "exec" else line.get("verdict")) for line in lines]
            return {key: told.count(key) for key in wanted}

        self.wait_until(lambda: counted() == wanted, f"{wanted} is not {counted()}")

    def nobody_else_is_named(self):
        self.assertEqual({name for _, name in self.prometheus.alerts()} - {"coder-1"}, set())

    def nothing_fires_any_more(self):
        self.wait_until(lambda: not self.prometheus.get("alerts")["alerts"], "alerts stay", 180)

    def the_runbooks_commands_work(self):
        """Those that docs/runbook.md marks as typed here: they read metrics, audit log or policy."""
        tried = 0
        marked = re.findall(r"^```sh typed by tests/e2e/test_incident.py\n(.*?)^```$", runbook(), re.M | re.S)
        for line in "".join(marked).splitlines():
            with self.subTest(line):
                told = self.shell_of_caller(line)
                self.assertEqual(told.stderr, b"")
                self.assertLessEqual(told.returncode, 1)  # grep's, where there is nothing to show
            tried += 1
        self.assertGreater(tried, 12)

    def test_each_command_is_one_of_the_runbooks(self):
        typed = [command for fence in FENCE.finditer(self.document) if fence[1] == "console"
                 for command, _ in commands(fence[3])]  # fmt: skip
        asked = [command for command in typed if "$AUDIT" in command or "sort -k2" in command]
        self.assertGreater(len(asked), 3)
        for command in asked:
            self.assertTrue(command in runbook(), f"not in the runbook: {command}")
