"""Many agents at once: sluice ps, stop and logs, runs in the background, and what remains."""

import json
import os
import random
import re
import signal
import subprocess
import time

import world
from agent import PATIENT, Case, curl
from leavings import Leavings
from shared import SOCKET, SharedCase

NAMES = "version: 1\nagents:\n  'coder-*':\n    allow: [{host: allowed.test}]\n"
EVERY_STUBBORN_AGENT = (
    "trap '' TERM HUP INT; setsid sleep 300 & echo up; while :; do sleep 300; done"
)


class Sessions(Case):
    policy = NAMES

    def setUp(self):
        super().setUp()
        own = self.environment.get("XDG_RUNTIME_DIR")
        self.runtime = f"{own}/sluice" if own else "/run/sluice/agents"
        self.environment["XDG_STATE_HOME"] = f"{os.path.dirname(self.policy_file)}/state"
        self.logs = f"{self.environment['XDG_STATE_HOME']}/sluice/logs"

    def line(self, agent, *command, options=()):
        return ("run", "--policy", self.policy_file, "--agent", agent, *options, "--", *command)

    def begin(self, agent, script="echo up; sleep 300", options=()):
        """An agent in the foreground that has said its first line."""
        process = self.start(self.command(*self.line(agent, "bash", "-c", script, options=options)))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"up\n")
        return process

    def detach(self, agent, script, options=(), status=0):
        run = self.sluice(*self.line(agent, "bash", "-c", script, options=["--detach", *options]))
        self.assertEqual(run.status, status, run)
        return run

    def runs(self):
        run = self.sluice("ps", "--json")
        self.assertEqual(run.status, 0, run)
        return {one["agent"]: one for one in json.loads(run.out)}

    def log(self, agent, *options, timeout=PATIENT):
        run = self.sluice("logs", agent, *options, timeout=timeout)
        self.assertEqual(run.status, 0, run)
        return run

    def await_end(self, agent):
        """The finished run as `ps --json` shows it."""
        self.log(agent, "-f")
        return self.runs()[agent]


class TheList(Sessions):
    def test_ps_shows_each_agent_of_this_user_with_what_it_runs_and_was_decided(self):
        self.assertEqual(self.sluice("ps").out, "nothing is running\n")
        fetch = " ".join(curl("https://allowed.test/", "http://other.test/"))
        # Both of its questions, A and AAAA, are refused: without a proxy it comes no further.
        by_itself = "curl -s --noproxy '*' http://third.test/"
        first = self.begin("coder-1", f"{fetch} >/dev/null; {by_itself}; echo up; sleep 300")
        self.begin("coder-2", "echo up; : '\x1b[2J'; sleep 300")
        runs = self.runs()
        self.assertEqual(sorted(runs), ["coder-1", "coder-2"])
        one = runs["coder-1"]
        self.assertEqual((one["state"], one["pid"], one["detached"]), ("running", first.pid, False))
        self.assertEqual((one["workspace"], one["policy"]), (self.workspace, self.policy_file))
        self.assertEqual(one["command"][:2], ["bash", "-c"])
        self.assertEqual((one["allowed"], one["blocked"]), (1, 3))
        self.assertRegex(one["since"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        table = self.sluice("ps").out.splitlines()
        self.assertEqual([line.split()[0] for line in table], ["AGENT", "coder-1", "coder-2"])
        self.assertIn("1/3", table[1])
        self.assertIn(r": '\x1b[2J'; sleep 300", table[2])

    def test_a_killed_run_is_not_listed_and_its_sockets_go(self):
        process = self.begin("coder-1")
        process.kill()
        process.wait(timeout=60)
        end = time.monotonic() + 60
        while self.sockets() and time.monotonic() < end:
            self.assertEqual(self.runs(), {})
        self.assertEqual(self.sockets(), [])

    def sockets(self):
        found = []
        for folder, _, files in os.walk(self.runtime):
            found += [name for name in files if name.endswith((".sock", ".ctl"))]
        return found

    def test_a_supervisor_that_does_not_answer_is_said_and_hides_no_other(self):
        process = self.begin("coder-1")
        self.begin("coder-2")
        process.send_signal(signal.SIGSTOP)
        run = self.sluice("ps")
        process.send_signal(signal.SIGCONT)
        self.assertEqual(run.status, 1, run)
        self.assertIn("the run of 'coder-1' does not answer", run.err)
        self.assertIn("coder-2", run.out)

    def test_nobody_else_sees_or_stops_a_run(self):
        if os.environ["SLUICE_E2E_WORLD"] != "root":
            self.skipTest("only root can be somebody else")
        self.begin("coder-1")
        environment = {**self.environment, "XDG_RUNTIME_DIR": "/tmp", "HOME": "/tmp"}
        del environment["XDG_STATE_HOME"]
        listed = self.as_stranger(f"{world.BIN}/sluice", "ps", env=environment)
        self.assertEqual(listed.stdout, "nothing is running\n", listed)
        stopped = self.as_stranger(f"{world.BIN}/sluice", "stop", "coder-1", env=environment)
        self.assertEqual(stopped.returncode, 1, stopped)
        # Neither with the directory of the other's own.
        own = self.environment.get("XDG_RUNTIME_DIR", "/run")
        path = f"{own}/sluice/agents/coder-1.ctl"
        environment["XDG_RUNTIME_DIR"] = own
        stopped = self.as_stranger(f"{world.BIN}/sluice", "stop", "coder-1", env=environment)
        self.assertEqual(stopped.returncode, 1, stopped)
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
        self.assertIn("PermissionError", self.as_stranger(world.PYTHON, "-c", code).stderr)
        self.assertEqual(self.runs()["coder-1"]["state"], "running")

    def as_stranger(self, *command, env=None):
        identity = ["setpriv", "--reuid=61235", "--regid=61235", "--clear-groups", "--"]
        return subprocess.run(
            [*identity, *command], env=env, capture_output=True, text=True, timeout=60
        )


class Stopping(Sessions):
    def test_stop_ends_an_agent_and_answers_when_nothing_is_left(self):
        before = set(world.processes())
        process = self.begin("coder-1", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
        run = self.sluice("stop", "coder-1")
        self.assertEqual((run.status, run.out, run.err), (0, "", ""), run)
        # What remains is the zombie, whose parent is this test.
        self.assertEqual(set(world.processes()) - before, set())
        self.assertEqual(process.wait(timeout=60), 3)

    def test_an_agent_that_does_not_hear_is_killed_after_the_grace_and_at_once_with_now(self):
        for options in ([], ["--now"]):
            with self.subTest(options):
                before = set(world.processes())
                heard = f"{self.workspace}/heard"
                deaf = f"trap 'touch {heard}' TERM; setsid sleep 300 & echo up; while :; do wait; done"
                process = self.begin("coder-1", deaf)
                run = self.sluice("stop", "coder-1", *options)
                self.assertEqual(run.status, 0, run)
                self.assertEqual(set(world.processes()) - before, set())
                self.assertEqual(process.wait(timeout=60), 137)
                self.assertEqual(os.path.exists(heard), not options)
                if not options:
                    self.assertGreater(run.seconds, 4)  # it was given its five
                    os.unlink(heard)

    def test_an_unknown_agent_is_an_error_that_names_the_running_ones(self):
        run = self.sluice("stop", "coder-9")
        self.assertEqual(run.status, 1, run)
        said = "sluice: error: you run no agent 'coder-9'\nhint: nothing is running\n"
        self.assertEqual(run.err, said)
        self.begin("coder-1")
        for name in ("coder-9", "../agents/coder-1", "\x1b"):
            run = self.sluice("stop", name)
            self.assertEqual(run.status, 1, run)
            self.assertIn("hint: running: coder-1\n", run.err)
            self.assertNotIn("\x1b", run.err)

    def test_of_many_agents_only_the_one_that_is_meant_is_stopped(self):
        for number in range(1, 6):
            self.begin(f"coder-{number}")
        self.assertEqual(self.sluice("stop", "coder-3").status, 0)
        self.assertEqual(sorted(self.runs()), ["coder-1", "coder-2", "coder-4", "coder-5"])


class Detached(Sessions):
    def test_a_detached_run_outlives_its_command_and_its_log_tells_how_it_ended(self):
        go = f"{self.workspace}/go"
        before = sorted(os.listdir(self.workspace))
        script = f"echo out; echo err >&2; until [ -e {go} ]; do sleep 0.1; done; exit 7"
        started = self.detach("coder-1", script)
        self.assertEqual((started.out, started.err), ("coder-1\n", ""))
        one = self.runs()["coder-1"]
        self.assertEqual((one["state"], one["detached"], one["status"]), ("running", True, None))
        self.write(go, "")
        followed = self.log("coder-1", "-f")
        self.assertEqual(followed.out.splitlines()[:2], ["out", "err"])
        self.assertRegex(followed.err, r"^sluice: ended with status 7 at 20\S+Z\n$")
        one = self.runs()["coder-1"]
        self.assertEqual((one["state"], one["pid"], one["status"]), ("ended", None, 7))
        self.assertEqual(self.sluice("ps").out, "nothing is running\n")
        self.assertIn("ended 7", self.sluice("ps", "--all").out)
        self.assertEqual(self.log("coder-1").out, followed.out)
        # What stood in for protected paths went with it.
        self.assertEqual(sorted(os.listdir(self.workspace)), sorted([*before, "go"]))

    def test_its_log_is_its_users_alone_and_it_hears_nothing_of_the_terminal(self):
        self.detach("coder-1", "readlink /proc/self/fd/0; tty; ps -o sid= -p $$")
        said = self.log("coder-1", "-f").out
        self.assertIn("/dev/null\nnot a tty\n", said)
        for name in os.listdir(self.logs):
            self.assertEqual(os.stat(f"{self.logs}/{name}").st_mode & 0o777, 0o600, name)
        self.assertEqual(os.stat(self.logs).st_mode & 0o777, 0o700)

    def test_it_holds_nothing_open_of_the_shell_that_started_it(self):
        """A lock on descriptor 9, say, would be held for as long as the agent runs."""
        held, given = os.pipe()
        self.addCleanup(os.close, held)
        command = self.command(*self.line("coder-1", "sleep", "300", options=["--detach"]))
        done = subprocess.run(
            command, cwd=self.workspace, env=self.environment, pass_fds=[given], timeout=60,
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        os.close(given)
        self.assertEqual(done.returncode, 0, done)
        os.set_blocking(held, False)
        self.assertEqual(os.read(held, 1), b"")  # else BlockingIOError: somebody could still write
        self.assertEqual(self.runs()["coder-1"]["state"], "running")

    def test_what_cannot_start_says_so_where_it_was_started(self):
        for command, status in (("no-such-program", 127), ("/usr", 126)):
            run = self.sluice(*self.line("coder-1", command, options=["--detach"]))
            self.assertEqual((run.status, run.out), (status, ""), run)
            self.assertIn(command, run.err)
        self.begin("coder-2")
        run = self.sluice(*self.line("coder-2", "true", options=["--detach"]))
        self.assertEqual((run.status, run.out), (125, ""), run)
        self.assertIn("the agent name 'coder-2' is taken", run.err)

    def test_a_name_is_taken_while_its_detached_run_lasts_and_its_log_stays(self):
        self.detach("coder-1", "echo first; sleep 300")
        run = self.detach("coder-1", "echo second", status=125)
        self.assertIn("the agent name 'coder-1' is taken", run.err)
        self.assertEqual(self.sluice("stop", "coder-1").status, 0)
        self.assertEqual(self.log("coder-1").out.splitlines()[0], "first")
        self.detach("coder-1", "echo third")
        self.assertEqual(self.log("coder-1", "-f").out.splitlines()[0], "third")

    def test_stop_ends_a_detached_run_and_its_log_says_how(self):
        before = set(world.processes())
        self.detach("coder-1", EVERY_STUBBORN_AGENT)
        self.assertEqual(self.sluice("stop", "coder-1", "--now").status, 0)
        self.assertEqual(set(world.processes()) - before, set())
        self.assertEqual((self.runs()["coder-1"]["state"], self.runs()["coder-1"]["status"]), ("ended", 137))
        self.assertIn("ended with status 137", self.log("coder-1").err)

    def test_stop_waits_for_who_keeps_the_log(self):
        self.detach("coder-1", "sleep 300")
        supervisor = self.runs()["coder-1"]["pid"]
        with open(f"/proc/{supervisor}/status") as file:
            keeper = int(re.search(r"PPid:\s+(\d+)", file.read())[1])
        os.kill(keeper, signal.SIGSTOP)
        stop = self.start(self.command("stop", "coder-1", "--now"))
        time.sleep(0.5)  # it could answer meanwhile
        self.assertIsNone(stop.poll())
        os.kill(keeper, signal.SIGCONT)
        self.assertEqual(self.finish(stop).status, 0)
        self.assertEqual(self.runs()["coder-1"]["state"], "ended")

    def test_a_detached_run_whose_command_is_ended_while_it_starts_ends_as_well(self):
        """Nobody was told that it runs."""
        before = set(world.processes())
        fifo = f"{self.workspace}/fifo"
        os.mkfifo(fifo)
        self.own(fifo)
        self.environment |= {
            "SLUICE_TEST_STEP": "descriptors",
            "SLUICE_TEST_MANNER": "wait",
            "SLUICE_TEST_WAIT_ON": fifo,
        }
        command = self.command(*self.line("coder-1", "sleep", "300", options=["--detach"]))
        command[command.index(f"{world.BIN}/sluice")] = f"{world.BIN}/failing_sluice"
        process = self.start(command)
        with open(fifo, "w"):  # opened by both: the step has been reached
            process.kill()
            process.communicate(timeout=60)
        self.assert_gone(before)

    def test_kill_9_of_either_of_its_processes_leaves_none(self):
        for which in ("the supervisor", "the keeper of the log"):
            with self.subTest(which):
                before = set(world.processes())
                self.detach("coder-1", EVERY_STUBBORN_AGENT)
                supervisor = self.runs()["coder-1"]["pid"]
                with open(f"/proc/{supervisor}/status") as file:
                    keeper = int(re.search(r"PPid:\s+(\d+)", file.read())[1])
                os.kill(supervisor if which == "the supervisor" else keeper, signal.SIGKILL)
                self.assert_gone(before)
                self.assertIn("nobody saw how the agent ended", self.log("coder-1", "-f").err)
                self.assertEqual(self.runs()["coder-1"]["state"], "killed")

    def assert_gone(self, before):
        end = time.monotonic() + 60
        while set(world.processes()) - before and time.monotonic() < end:
            time.sleep(0.02)
        left = {pid: line for pid, line in world.processes().items() if pid not in before}
        self.assertEqual(left, {})

    def test_a_log_is_bounded_and_what_is_dropped_is_the_oldest(self):
        self.detach("coder-1", "seq 5000000; echo last")
        one = self.await_end("coder-1")
        self.assertEqual(one["status"], 0)
        size = sum(os.stat(f"{self.logs}/{name}").st_size for name in os.listdir(self.logs))
        self.assertLess(size, (16 << 20) + (1 << 18))
        lines = self.log("coder-1").out.splitlines()
        at = lines.index("last")
        self.assertEqual(lines[at - 1000 : at], [str(n) for n in range(4999001, 5000001)])
        self.assertNotEqual(lines[0], "1")

    def test_a_log_is_raw_in_a_pipe_and_escaped_on_a_terminal(self):
        self.detach("coder-1", r"printf 'a\tb\033[2J\rc\r\n\303\274\377\n'")
        options = {"env": self.environment, "capture_output": True, "timeout": 60}
        raw = subprocess.run(self.command("logs", "-f", "coder-1"), **options)
        self.assertTrue(raw.stdout.startswith(b"a\tb\x1b[2J\rc\r\n\xc3\xbc\xff\n"), raw.stdout)
        line = " ".join(self.command("logs", "coder-1"))
        terminal = ["script", "-qec", line, "/dev/null"]
        shown = subprocess.run(terminal, stdin=subprocess.DEVNULL, **options)
        said = shown.stdout.replace(b"\r\n", b"\n")
        self.assertIn("a\tb\\x1b[2J\\x0dc\n\u00fc\\xff\n".encode(), said)
        self.assertNotIn(b"\x1b", said)

    def test_a_log_is_forgotten_seven_days_after_the_end(self):
        self.detach("coder-1", "true")
        self.await_end("coder-1")
        self.detach("coder-2", "true")
        self.await_end("coder-2")
        record = f"{self.logs}/coder-1.run"
        with open(record) as file:
            told = json.load(file)
        day = 24 * 3600 * 1000
        for name in ("since", "until"):
            told[name] -= 7 * day
        self.write(record, json.dumps(told))
        self.assertEqual(sorted(self.runs()), ["coder-2"])
        self.assertFalse([name for name in os.listdir(self.logs) if "coder-1" in name])
        run = self.sluice("logs", "coder-1")
        self.assertEqual(run.status, 1, run)
        self.assertIn("hint: there are logs of: coder-2\n", run.err)


class WithASharedSluiced(SharedCase):
    policy = NAMES

    def test_runs_of_a_shared_sluiced_are_listed_and_stopped_too(self):
        self.start_sluiced()
        line = ["run", "--agent", "coder-1", "--detach", "--", "sleep", "300"]
        started = self.sluice(*line)
        self.assertEqual((started.status, started.out), (0, "coder-1\n"), started)
        one = json.loads(self.sluice("ps", "--json").out)[0]
        self.assertEqual((one["agent"], one["shared"], one["policy"]), ("coder-1", SOCKET, None))
        self.assertEqual((one["allowed"], one["blocked"]), (0, 0))
        self.assertEqual(self.sluice("stop", "coder-1").status, 0)
        self.assertEqual(self.sluice("ps").out, "nothing is running\n")

    def test_whoever_it_does_not_admit_is_told_who_may_and_what_works_all_the_same(self):
        if os.environ["SLUICE_E2E_WORLD"] != "root":
            self.skipTest("only root can be somebody else")
        self.start_sluiced()
        os.chmod(os.path.dirname(SOCKET), 0o755)
        workspace = f"{self.workspace}-of-another"
        os.mkdir(workspace)
        os.chown(workspace, 61235, 61235)
        environment = {**self.environment, "HOME": workspace, "XDG_RUNTIME_DIR": workspace}

        def another(*words):
            identity = ["setpriv", "--reuid=61235", "--regid=61235", "--clear-groups", "--"]
            return subprocess.run(
                [*identity, f"{world.BIN}/sluice", *words], cwd=workspace, env=environment,
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip

        refused = another("run", "--agent", "coder-1", "--", "true")
        self.assertEqual(refused.returncode, 125, refused)
        self.assertIn("only root and sluiced's own user may hand over agents", refused.stderr)
        self.assertIn("hint: 'handover: peers' of its configuration says who may; --proxy embedded", refused.stderr)
        asked = another("logs", "coder-1", "--decisions")
        self.assertEqual(asked.returncode, 1, asked)
        self.assertIn("hint: its owner may ask, and its group: ls -l '/run/sluice/admin.sock'", asked.stderr)

    def test_a_sluiced_that_hangs_is_named_once_and_hides_no_run(self):
        daemon = self.start_sluiced()
        for name in ("coder-1", "coder-2"):
            started = self.sluice("run", "--agent", name, "--detach", "--", "sleep", "300")
            self.assertEqual(started.status, 0, started)
            self.addCleanup(self.sluice, "stop", name, "--now")
        daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(daemon.send_signal, signal.SIGCONT)
        run = self.sluice("ps", "--json")
        self.assertEqual(run.status, 1, run)
        self.assertEqual([(one["agent"], one["allowed"]) for one in run.json()], [("coder-1", None), ("coder-2", None)])
        path = f"{os.path.dirname(SOCKET)}/admin.sock"
        self.assertEqual(run.err.count(f"'{path}' does not answer: no answer within 5 seconds"), 1, run)


class Lives(Sessions):
    """Nothing of a run stays: no process, mount, namespace, host id or file of its own."""

    def setUp(self):
        super().setUp()
        self.assertEqual(self.sluice(*self.line("coder-0", "true")).status, 0)  # makes directories
        self.leavings = Leavings(self.runtime, "/tmp", "/var/tmp", self.workspace)

    def start_one(self, number, *command):
        return self.start(self.command(*self.line(f"coder-{number}", *command)))

    def test_after_many_runs_nothing_is_left(self):
        runs = int(os.environ.get("SLUICE_LIVES", "40"))
        began = time.monotonic()
        for number in range(0, runs, 4):
            together = [self.start_one(n, "true") for n in range(number, number + 4)]
            for process in together:
                run = self.finish(process)
                self.assertEqual(run.status, 0, run)
        print(f"{runs} runs in {time.monotonic() - began:.1f} s", end=" ")
        self.assertEqual(self.leavings.left(), {})

    def test_kill_9_of_sluice_at_thirty_moments_leaves_nothing(self):
        chance = random.Random(20261122)
        slowest = 0.0
        for number in range(30):
            process = self.start_one(number, "bash", "-c", EVERY_STUBBORN_AGENT)
            time.sleep(chance.uniform(0, 0.4))
            process.kill()
            killed = time.monotonic()
            process.wait(timeout=60)
            self.assertEqual(self.leavings.left(but=("files",)), {}, number)
            slowest = max(slowest, time.monotonic() - killed)
            process.communicate(timeout=60)
        print(f"all gone after {slowest * 1000:.0f} ms at most", end=" ")
        self.assertEqual(self.sluice("ps").out, "nothing is running\n")
        self.assertEqual(self.leavings.left(), {})
