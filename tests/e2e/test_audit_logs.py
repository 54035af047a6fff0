"""`sluice logs --file` and `--decisions`: audit lines for a person."""

import json
import os
import pty
import subprocess
import time

from agent import Case, curl

LINE = {
    "ts": "2026-01-02T03:04:05.678Z", "agent": "coder-1", "session": "", "via": "http", "host": "other.test",
    "port": 80, "verdict": "deny", "reason": "not_listed", "would_deny": "", "rule": "default", "method": "GET",
    "path": "/x", "bytes_up": 0, "bytes_down": 0, "ms": 1, "error": "",
}  # fmt: skip


def line(**changes):
    return json.dumps({**LINE, **changes}) + "\n"


class AuditLogs(Case):
    def setUp(self):
        super().setUp()
        self.file = f"{os.path.dirname(self.policy_file)}/audit.jsonl"

    def logs(self, *arguments, status=0):
        run = self.sluice("logs", *arguments)
        self.assertEqual(run.status, status, run)
        return run

    def test_what_a_run_wrote_is_shown_in_columns_by_verdict_and_agent_or_as_it_is(self):
        script = " ".join(curl("https://allowed.test/")) + " >/dev/null; curl -s http://other.test/ >/dev/null; true"
        self.shell(script, options=["--audit", self.file])
        run = self.logs("--file", self.file)
        self.assertRegex(run.out, r"(?m)^20\S+Z coder-1 +deny +http +not_listed +other\.test:80 +GET /  .*by default$")
        self.assertRegex(run.out, r"(?m)^20\S+Z coder-1 +allow +connect +listed +allowed\.test:443 +.* up .* down")
        self.assertRegex(run.out, r"(?m)^20\S+Z coder-1 +- +exec +exit 0 +\S*/curl +curl ")
        denied = self.logs("--file", self.file, "--denied").out
        self.assertEqual([row.split()[2] for row in denied.splitlines()], ["deny"])
        with open(self.file) as lines:
            written = lines.read()
        self.assertEqual(self.logs("--file", self.file, "--json").out, written)
        self.assertEqual(self.logs("coder-9", "--file", self.file).out, "")

    def test_a_broken_line_is_counted_and_named_and_ends_nothing(self):
        self.write(self.file, "{broken\n" + line() + "\xff\n" + "x" * 70_000 + "\n" + line(host="last.test"))
        run = self.logs("--file", self.file)
        self.assertEqual(len(run.out.splitlines()), 2, run)
        self.assertIn("last.test", run.out)
        self.assertEqual(run.err, f"sluice: 3 lines were not understood, the first at {self.file}:1\n")

    def test_standard_input_is_read_and_time_chooses(self):
        text = line() + line(ts="2026-01-02T04:00:00.000Z", host="later.test")
        command = self.command("logs", "--file", "-", "--since", "2026-01-02 03:30")
        process = self.start(command, stdin=subprocess.PIPE)
        run = self.finish(process, stdin=text.encode())
        self.assertEqual([row.split()[5] for row in run.out.splitlines()], ["later.test:80"])

    def test_a_log_is_followed_over_its_rotation(self):
        self.write(self.file, line(host="one.test"))
        process = self.start(self.command("logs", "--file", self.file, "-f"))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertIn(b"one.test", process.stdout.readline())
        with open(self.file, "a") as file:
            file.write(line(host="two.test"))
        self.assertIn(b"two.test", process.stdout.readline())
        os.rename(self.file, self.file + ".1")
        with open(self.file + ".1", "a") as file:
            file.write(line(host="three.test"))
        self.assertIn(b"three.test", process.stdout.readline())
        self.write(self.file, line(host="four.test"))
        self.assertIn(b"four.test", process.stdout.readline())

    def test_colour_is_for_terminals_alone_and_nothing_steers_one(self):
        self.write(self.file, line(host="\x1b]0;owned\x07", path="/\x9b2J"))
        self.assertNotIn("\x1b", self.logs("--file", self.file).out)
        for more, is_red in (({}, True), ({"NO_COLOR": "1"}, False)):
            said = self.on_terminal("logs", "--file", self.file, **more)
            self.assertEqual(b"\x1b[31m" in said, is_red, said)
            self.assertNotIn(b"\x1b]0;", said)
            self.assertIn(rb"\x1b]0;owned\x07", said)

    def on_terminal(self, *arguments, **environment):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.command(*arguments), env={**self.environment, "TERM": "xterm", **environment}, stdout=slave
        )
        os.close(slave)
        said = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:
                break
            said += part
        os.close(master)
        self.assertEqual(process.wait(60), 0)
        return said

    def test_decisions_of_a_running_agent_are_shown_and_followed(self):
        script = "curl -s http://other.test/ >/dev/null; echo up; read x; curl -s http://third.test/ >/dev/null; sleep 300"
        agent = self.start_agent("bash", "-c", script, stdin=subprocess.PIPE)
        self.addCleanup(agent.communicate)
        self.addCleanup(agent.kill)
        self.assertEqual(agent.stdout.readline(), b"up\n")
        end = time.monotonic() + 60
        while "other.test" not in (out := self.logs("coder-1", "--decisions", "--denied").out):
            self.assertLess(time.monotonic(), end, out)
        follower = self.start(self.command("logs", "coder-1", "--decisions", "-f"))
        self.addCleanup(follower.communicate)
        self.addCleanup(follower.kill)
        self.assertIn(b"other.test", follower.stdout.readline())
        agent.stdin.write(b"go\n")
        agent.stdin.flush()
        self.assertIn(b"third.test", follower.stdout.readline())
        agent.kill()
        self.assertEqual(follower.wait(60), 0)

    def test_what_makes_no_sense_is_said(self):
        for arguments, text in (
            ([], "no agent is named"),
            (["coder-1", "--denied"], "--decisions"),
            (["--file", "-", "--since", "noon"], "'noon' is no time"),
            (["--file", "-", "--verdict", "maybe"], "maybe"),
        ):
            with self.subTest(arguments):
                self.assertIn(text, self.logs(*arguments, status=2).err)
        self.assertIn("cannot open", self.logs("--file", "/none", status=1).err)
        self.assertIn("no sluiced serves 'coder-1'", self.logs("coder-1", "--decisions", status=1).err)
