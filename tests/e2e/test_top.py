"""`sluice top`: what agents do, live in a terminal, once for a person, or as JSON."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import scrape
from agent import curl
from shared import FOLDER, SharedCase

ALTERNATE, OWN = b"\x1b[?1049h", b"\x1b[?1049l"


class Top(SharedCase):
    def stay_blocked(self, *options, agent="coder-1"):
        return self.stay("for i in 1 2 3; do curl -s http://other.test/ >/dev/null; done", *options, agent=agent)

    def own_policy(self):
        return ("--policy", self.policy_file, "--proxy", "embedded")

    def blocked_of(self, run):
        self.assertEqual(run.status, 0, run)
        return [(one["agent"], one["host"], one["count"], one["to_allow"]) for one in json.loads(run.out)["blocked"]]


class Once(Top):
    def test_nothing_running_is_no_error(self):
        run = self.sluice("top", "--once")
        self.assertEqual((run.status, run.err), (0, ""), run)
        self.assertIn("0 agents", run.out)
        self.assertIn("nothing is running", run.out)

    def test_runs_with_a_proxy_of_their_own_are_shown_with_what_was_blocked_and_the_rule(self):
        self.stay_blocked(*self.own_policy())
        run = self.sluice("top", "--once", "--json")
        self.assertEqual(self.blocked_of(run), [("coder-1", "other.test", 3, "- {host: other.test, ports: [80]}")])
        shown = json.loads(run.out)
        self.assertEqual([one["name"] for one in shown["agents"]], ["coder-1"])
        self.assertEqual([one["reason"] for one in shown["decisions"]], ["not_listed"] * 3)
        self.assertEqual(shown["notes"], [])
        plain = self.sluice("top", "--once")
        self.assertEqual(plain.status, 0, plain)
        self.assertNotIn("\x1b", plain.out)
        self.assertRegex(plain.out, r"(?m)^coder-1 .* 3$")
        self.assertRegex(plain.out, r"(?m)^ +3 coder-1 +not_listed +- \{host: other\.test, ports: \[80\]\}$")

    def test_the_rule_lets_it_pass(self):
        self.stay_blocked(*self.own_policy())
        rule = self.blocked_of(self.sluice("top", "--once", "--json"))[0][3]
        policy = f"{os.path.dirname(self.policy_file)}/with.yaml"
        self.write(policy, f"version: 1\nagents:\n  coder-1:\n    allow:\n      {rule}\n")
        explained = self.sluice("policy", "explain", policy, "coder-1", "other.test:80")
        self.assertEqual(explained.status, 0, explained)

    def test_a_machines_sluiced_is_shown_to_whoever_may_ask_it(self):
        self.start_sluiced()
        self.stay_blocked()
        self.assertEqual(self.blocked_of(self.sluice("top", "--once", "--json"))[0][:3], ("coder-1", "other.test", 3))
        run = self.sluice("top", "--once", "--json", "--socket", f"{FOLDER}/admin.sock")
        self.assertEqual(self.blocked_of(run)[0][0], "coder-1")
        shown = json.loads(run.out)
        for page, key, more in (
            ("agents", "agents", ["requests_per_second", "bytes_up_per_second", "bytes_down_per_second"]),
            ("top", "blocked", ["to_allow"]),
            ("decisions", "decisions", []),
        ):
            self.assertEqual(list(shown[key][0]), list(self.api(page)[key][0]) + more)

    def api(self, page):
        connection = scrape.Unix(f"{FOLDER}/admin.sock")
        connection.request("GET", f"/api/v1/{page}")
        return json.load(connection.getresponse())

    def test_sluiceds_that_hang_are_named_and_hide_no_other(self):
        daemon = self.start_sluiced()
        self.stay_blocked(*self.own_policy())
        daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(daemon.send_signal, signal.SIGCONT)
        run = self.sluice("top", "--once", "--json")
        self.assertEqual(self.blocked_of(run), [("coder-1", "other.test", 3, "- {host: other.test, ports: [80]}")])
        notes = json.loads(run.out)["notes"]
        self.assertEqual(notes, [f"'{FOLDER}/admin.sock' does not answer: no answer within 5 seconds"])
        only = self.sluice("top", "--once", "--socket", f"{FOLDER}/admin.sock")
        self.assertEqual(only.status, 1, only)
        self.assertIn(f"'{FOLDER}/admin.sock' does not answer", only.err)

    def test_a_budget_is_shown_with_what_is_spent_of_it(self):
        self.write(self.policy_file, "version: 1\nagents:\n  coder-1:\n    limits: {download: 200KiB/day}\n"
                                     "    allow: [{host: allowed.test}]\n")  # fmt: skip
        self.stay(" ".join(curl("-o", "/dev/null", "https://allowed.test/bytes/150000")), *self.own_policy())
        budgets = json.loads(self.sluice("top", "--once", "--json").out)["agents"][0]["budgets"]
        self.assertEqual(list(budgets), ["down"])
        spent = budgets["down"]["spent"]
        self.assertGreater(spent, 150000)
        self.assertEqual((budgets["down"]["limit"], budgets["down"]["period_seconds"]), (200 << 10, 86400))
        self.assertRegex(budgets["down"]["resets"], r"T00:00:00\.000Z$")
        plain = self.sluice("top", "--once").out
        self.assertRegex(plain, r"(?m)^AGENT .* BUDGET$")
        self.assertRegex(plain, rf"(?m)^coder-1 .* {spent * 100 // (200 << 10)}%$")

    def test_a_socket_at_which_nobody_listens_and_an_output_that_is_no_terminal_are_errors(self):
        run = self.sluice("top", "--once", "--socket", "/run/none.sock")
        self.assertEqual(run.status, 1, run)
        self.assertIn("no sluiced listens at '/run/none.sock'", run.err)
        run = self.sluice("top")
        self.assertEqual(run.status, 2, run)
        self.assertIn("--once", run.err)


class InATerminal(Top):
    def setUp(self):
        super().setUp()
        self.environment["TERM"] = "xterm"

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def top(self, rows=24, columns=80, **environment):
        """On a terminal of its own, which goes with its session."""
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.said = b""
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)

        def lead():
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            self.command("top"), cwd=self.workspace, env={**self.environment, **environment},
            stdin=self.slave, stdout=self.slave, stderr=self.slave, preexec_fn=lead,
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def read_more(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.said += os.read(self.master, 65536)
        return True

    def read_until(self, condition, message):
        end = time.monotonic() + 60
        while not condition():
            self.assertTrue(self.read_more(max(0, end - time.monotonic())), f"{message}: {self.said!r}")

    def frames(self):
        """The whole pictures so far, each as its lines without colour."""
        whole = [part for part in self.said.split(b"\x1b[H")[1:] if part.endswith(b"\x1b[J")]
        return [re.sub(r"\r|\x1b\[[0-9;]*[mKJ]", "", part.decode()).split("\n") for part in whole]

    def a_frame_with(self, text):
        self.read_until(lambda: any(text in "\n".join(one) for one in self.frames()), f"no frame with {text!r}")
        return [one for one in self.frames() if text in "\n".join(one)][-1]

    def end_of(self, process):
        """Its status, after all that it wrote."""
        end = time.monotonic() + 60
        while process.poll() is None:
            self.assertLess(time.monotonic(), end, "no end")
            self.read_more(0.05)
        while self.read_more(0.2):
            pass
        return process.returncode

    def assert_restored(self):
        self.assertEqual(self.said.count(ALTERNATE), self.said.count(OWN))
        self.assertGreater(self.said.rindex(OWN), self.said.rindex(ALTERNATE))
        self.assertIn(b"\x1b[?25h", self.said[self.said.rindex(b"\x1b[?25l"):])
        self.assertEqual(termios.tcgetattr(self.slave), self.before)

    def test_it_fits_the_terminal_takes_its_new_size_and_q_ends_it(self):
        self.stay_blocked(*self.own_policy())
        process = self.top(24, 80)
        lines = self.a_frame_with("- {host: other.test")
        self.assertLessEqual(len(lines), 24)
        self.assertLess(max(map(len, lines)), 80)
        self.assertIn("q quit", lines[0])
        self.assertIn("1 agent,", lines[0])
        self.said = self.said[: self.said.index(b"\x1b[H")]
        self.resize(10, 40)
        self.read_until(lambda: self.frames() and max(map(len, self.frames()[-1])) < 40, "not resized")
        self.assertLessEqual(len(self.frames()[-1]), 10)
        self.assertIn("coder-1", "\n".join(self.frames()[-1]))
        os.write(self.master, b"q")
        self.assertEqual(self.end_of(process), 0)
        self.assert_restored()

    def test_every_signal_that_ends_it_puts_the_terminal_back(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            with self.subTest(number):
                process = self.top()
                self.a_frame_with("nothing is running")
                self.assertNotEqual(termios.tcgetattr(self.slave), self.before)
                process.send_signal(number)
                self.assertEqual(self.end_of(process), 128 + number)
                self.assert_restored()

    def test_a_shell_that_stops_it_has_its_terminal_meanwhile(self):
        process = self.top()
        self.a_frame_with("nothing is running")
        process.send_signal(signal.SIGTSTP)
        pid, status = os.waitpid(process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        while self.read_more(0.2):
            pass
        self.assert_restored()
        process.send_signal(signal.SIGCONT)
        self.read_until(lambda: self.said.count(ALTERNATE) == 2, "it did not come back")
        os.write(self.master, b"q")
        self.assertEqual(self.end_of(process), 0)
        self.assert_restored()

    def test_colour_is_for_those_who_want_it(self):
        self.stay_blocked(*self.own_policy())
        for more, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            with self.subTest(more):
                process = self.top(**more)
                self.a_frame_with("- {host: other.test")
                os.write(self.master, b"q")
                self.end_of(process)
                self.assertEqual(b"\x1b[31m" in self.said, is_coloured)

    def test_what_an_agent_chose_moves_no_cursor(self):
        self.stay(
            r"printf 'CONNECT \033]0;owned\007\033[31mx:443 HTTP/1.1\r\n\r\n' | "
            "timeout 60 bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128; cat >&3; cat <&3' >/dev/null",
            *self.own_policy(),
        )
        process = self.top()
        self.a_frame_with("coder-1")
        os.write(self.master, b"q")
        self.end_of(process)
        self.assertNotIn(b"\x1b]0;", self.said)
        self.assertNotIn(b"\x07", self.said)
