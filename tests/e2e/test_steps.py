"""Each step that closes an agent in fails once: the agent never starts, and nothing is left."""

import json
import os
import re
import signal
import subprocess

import world
from agent import Case
from leavings import Leavings


class Step(Case):
    """failing_sluice is sluice with a hook in front of each step, which no shipped program has."""

    def setUp(self):
        super().setUp()
        self.started = f"{self.workspace}/started"
        own = self.environment.get("XDG_RUNTIME_DIR")
        self.leavings = Leavings(f"{own}/sluice" if own else "/run/sluice/agents")

    def steps(self):
        """The names that `sluice run --dry-run --json` enumerates."""
        run = self.sluice(*self.run_line("true", options=["--dry-run", "--json"]))
        self.assertEqual(run.status, 0, run)
        return [step["name"] for step in json.loads(run.out)["steps"]]

    def test_a_dry_run_is_one_json_object_and_starts_nothing(self):
        options = ["--dry-run", "--json", "--env", "TOKEN=secret", "--tmpfs", "/opt:8KiB"]
        run = self.sluice(*self.run_line("touch", self.started, options=options))
        self.assertEqual(run.status, 0, run)
        plan = json.loads(run.out)
        self.assertEqual((plan["agent"], plan["workspace"]), ("coder-1", self.workspace))
        self.assertEqual(plan["command"], ["touch", self.started])
        self.assertEqual(plan["policy"]["path"], self.policy_file)
        mounts = {mount["path"]: mount for mount in plan["mounts"]}
        self.assertEqual(mounts[self.workspace]["access"], "read-write")
        self.assertEqual((mounts["/opt"]["kind"], mounts["/opt"]["bytes"]), ("tmpfs", 8192))
        self.assertIn("TOKEN", plan["environment"])
        self.assertNotIn("secret", run.out)
        self.assertTrue(all(step["does"] for step in plan["steps"]))
        self.assert_nothing_began(run)
        self.assertEqual(self.sluice(*self.run_line("true", options=["--json"])).status, 125)

    def start_failing(self, step, manner, stdin=subprocess.DEVNULL):
        command = self.command(*self.run_line("touch", self.started))
        at = command.index(f"{world.BIN}/sluice")
        command[at] = f"{world.BIN}/failing_sluice"
        self.environment |= {"SLUICE_TEST_STEP": step, "SLUICE_TEST_MANNER": manner}
        return self.start(command, stdin)

    def assert_nothing_began(self, run=""):
        self.assertFalse(os.path.exists(self.started), f"the agent started\n{run}")
        self.assertEqual(self.leavings.left(), {}, run)

    def test_the_program_with_the_hook_runs_an_agent_when_nothing_fails(self):
        """Else the tests below could not fail."""
        run = self.finish(self.start_failing("none", "fail"))
        self.assertEqual(run.status, 0, run)
        self.assertTrue(os.path.exists(self.started))

    def test_the_program_that_is_shipped_has_no_hook(self):
        self.environment |= {"SLUICE_TEST_STEP": "root", "SLUICE_TEST_MANNER": "fail"}
        self.run_agent("true")
        with open(f"{world.BIN}/sluice", "rb") as file:
            self.assertNotIn(b"SLUICE_TEST_STEP", file.read())

    def test_a_step_that_fails_is_125_with_its_name_and_the_agent_never_starts(self):
        steps = self.steps()
        self.assertGreater(len(steps), 15)
        self.assertEqual(len(set(steps)), len(steps), "a name that two steps have")
        for step in steps:
            with self.subTest(step):
                run = self.finish(self.start_failing(step, "fail"))
                self.assertEqual(run.status, 125, run)
                self.assertIn(f"the sandbox failed at '{step}': ", run.err)
                self.assert_nothing_began(run)

    def test_a_step_at_which_the_process_is_killed_is_125_and_the_agent_never_starts(self):
        for step in self.steps():
            with self.subTest(step):
                run = self.finish(self.start_failing(step, "die"))
                self.assertEqual(run.status, 125, run)
                self.assertRegex(run.err, "error: .*(ended|died)")
                self.assert_nothing_began(run)

    def test_a_sandbox_whose_init_is_killed_before_the_agent_runs_is_125(self):
        process = self.start_failing("filter", "wait", subprocess.PIPE)
        self.assertEqual(process.stderr.readline(), b"waiting at filter\n")
        os.kill(self.pid_of_init(), signal.SIGKILL)
        process.wait(timeout=60)
        run = self.finish(process)
        self.assertEqual(run.status, 125, run)
        self.assertIn("the sandbox ended while it was being made\nhint: was it killed? ", run.err)
        self.assert_nothing_began(run)

    def pid_of_init(self):
        """The process that is pid 1 of a namespace below W's."""
        for pid in world.processes():
            try:
                with open(f"/proc/{pid}/status") as file:
                    ids = re.search(r"NSpid:(.*)", file.read())[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            if len(ids) > 1 and ids[-1] == "1":
                return pid
        self.fail(f"no sandbox: {world.processes()}")

    def test_kill_9_of_sluice_at_each_step_leaves_nothing_and_the_agent_never_starts(self):
        steps = self.steps()
        # Up to there a process finds out when it goes on; from there it is killed where it is.
        hangs_on = steps.index("supervisor")
        for number, step in enumerate(steps):
            with self.subTest(step):
                process = self.start_failing(step, "wait", subprocess.PIPE)
                self.assertEqual(process.stderr.readline(), f"waiting at {step}\n".encode())
                process.kill()
                process.wait(timeout=60)
                if number <= hangs_on:
                    process.stdin.close()
                    process.stdin = None
                self.assertEqual(self.leavings.left(but=("files",)), {})
                self.remove_sockets()
                self.assert_nothing_began()
                process.communicate(timeout=60)

    def remove_sockets(self):
        """A killed sluice cannot remove its own: the next run of the agent's name, or ps, does."""
        run = self.sluice("ps")
        self.assertEqual(run.status, 0, run)
