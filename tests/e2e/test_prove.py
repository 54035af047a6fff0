"""`sluice prove`, the self-check before an agent's exec, and that either can fail."""

import json
import os
import subprocess

import test_landlock as landlock
import world
from agent import as_ordinary, Case, decisions, is_root
from shared import SharedCase

HOLDS = ("held", "not_applicable")
AREAS = ["network", "filesystem", "privileges", "processes", "resources", "terminal"]


class ProveCase(Case):
    @property
    def policy_options(self):
        return ("--policy", self.policy_file)

    def prove(self, *options, status=0, command=None):
        """The outcomes by name."""
        line = (command or self.command)(
            "prove", *self.policy_options, "--agent", "coder-1", "--json", *options
        )
        run = self.finish(self.start(line))
        self.assertEqual(run.status, status, run)
        outcomes = run.json()
        for outcome in outcomes:
            self.assertEqual(list(outcome), ["area", "name", "tries", "outcome", "what"])
        named = {outcome["name"]: outcome for outcome in outcomes}
        self.assertEqual(len(named), len(outcomes))
        return named

    def assert_held(self, outcomes):
        """All of them; on an old kernel pid 1 can be sent signals that it does not heed."""
        leaks = [outcome for outcome in outcomes.values() if outcome["outcome"] != "held"]
        if [outcome["name"] for outcome in leaks] not in (["signals"], ["Landlock", "signals"]):
            self.assertEqual(leaks, [])

    def assert_reached(self, outcomes, name, what=""):
        """This probe and no other did not hold, and `what` is in what it reached."""
        leaks = {n: o["what"] for n, o in outcomes.items() if o["outcome"] not in HOLDS}
        self.assertEqual(list(leaks), [name], leaks)
        self.assertEqual(outcomes[name]["outcome"], "reached")
        self.assertIn(what, leaks[name])


class Prove(ProveCase):
    def test_every_probe_holds_and_nothing_leaves_the_machine(self):
        outcomes = self.prove()
        self.assert_held(outcomes)
        self.assertEqual(list(dict.fromkeys(o["area"] for o in outcomes.values())), AREAS)
        self.assertGreater(len(outcomes), 50)
        self.assert_nothing_left()
        self.assertEqual(self.outside.questions(), [])

    def test_it_says_which_landlock_there_is(self):
        outcome = self.prove()["Landlock"]
        if landlock.abi() < landlock.REFER:
            self.assertEqual(outcome["outcome"], "not_applicable")
            self.assertIn("Landlock", outcome["what"])
            return
        scopes = ", signals, abstract sockets" if landlock.abi() >= landlock.SCOPES else ""
        self.assertEqual((outcome["outcome"], outcome["what"]), ("held", f"ABI {landlock.abi()}: files{scopes}"))

    def test_the_proxy_hears_of_connections_to_others_and_to_this_machine(self):
        audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"
        self.prove("--audit", audit)
        lines = [line for line in decisions(audit) if line["via"] != "event"]
        self.assertEqual({line["verdict"] for line in lines}, {"deny"}, lines)
        asked = {line["host"] for line in lines}
        for address in ("203.0.113.1", "8.8.8.8", "169.254.169.254", "25.10.0.1"):
            self.assertIn(address, asked)

    def test_the_table_has_a_line_for_each_probe_below_its_area(self):
        run = self.sluice("prove", "--policy", self.policy_file, "--agent", "coder-1")
        self.assertEqual((run.status, run.err), (0, ""), run)
        lines = run.out.splitlines()
        outcomes = self.prove()
        self.assertEqual(lines[-2:], ["", f"every probe held: {len(outcomes)}"])
        self.assertEqual([line for line in lines if line in AREAS], AREAS)
        width = max(map(len, outcomes))
        for outcome in outcomes.values():
            if outcome["outcome"] != "held":
                continue
            line = f"  held       {outcome['name']:<{width}}  {outcome['tries']}"
            self.assertIn(line, lines)

    def test_it_holds_with_binds_tmpfs_masks_and_an_open_policy(self):
        self.write(f"{self.workspace}/secret", "text")
        policy = self.policy.replace("host: allowed.test", "cidr: 203.0.113.0/24")
        self.write(self.policy_file, policy)
        os.makedirs(f"{self.home}/tools")
        self.own(f"{self.home}/tools")
        outcomes = self.prove(
            "--bind", f"{self.home}/tools", "--tmpfs", "/srv:1MiB", "--tmpfs", f"{self.home}/a b",
            "--mask", f"{self.workspace}/secret", "--report", "--allow", "*.example.com",
        )  # fmt: skip
        self.assert_held(outcomes)

    def test_a_terminal_is_proved_to_be_the_sandboxes_own(self):
        line = self.command(
            "prove", "--policy", self.policy_file, "--agent", "coder-1", "--json"
        )
        leader, follower = os.openpty()
        process = self.start(line, stdin=follower)
        os.close(follower)
        run = self.finish(process)
        os.close(leader)
        self.assertEqual(run.status, 0, run)

    def test_without_a_sandbox_it_is_125(self):
        for options in (["--workspace", "/"], ["--nonsense"], ["--", "true"], ["--bind", "relative"]):
            with self.subTest(options):
                run = self.sluice("prove", *options)
                self.assertEqual((run.status, run.out), (125, ""), run)

    def test_a_run_that_is_ended_says_so(self):
        run = self.sluice("prove", *self.policy_options, "--agent", "coder-1", "--timeout", "1ms")
        said = "sluice: error: the probes were ended before they were through\n"
        self.assertEqual((run.status, run.out, run.err), (124, "", said), run)

    def test_the_self_check_of_a_run_leaves_no_trace(self):
        audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"
        run = self.run_agent("true", options=("--audit", audit))
        self.assertEqual(run.err, "sluice: coder-1: allowed 0, blocked 0\n")
        self.assertEqual(decisions(audit), [])

    def test_a_dry_run_tells_of_the_probes_and_of_no_command(self):
        run = self.sluice("prove", "--dry-run", "--policy", self.policy_file, "--agent", "coder-1")
        self.assertEqual(run.status, 0, run)
        self.assertIn(". self-check: try to leave: nothing may be reached\n", run.out)
        self.assertNotRegex(run.out, r"\n *\d+\. run ")

    def test_it_leaves_nothing_behind(self):
        before = sorted(os.listdir(self.workspace))
        self.prove()
        self.assertEqual(sorted(os.listdir(self.workspace)), before)
        self.assertEqual(set(world.processes()) - self._before, set())


class OutOfSight(ProveCase):
    """What no table of the machine lists for sluice: made in other pid and network namespaces."""

    def command(self, *arguments):
        line = super().command(*arguments)
        return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *line]

    def listen(self, script):
        server = subprocess.Popen(
            ["unshare", "--net", world.PYTHON, "-c", script],
            cwd=self.workspace,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), "ready\n")

    def test_a_socket_in_the_workspace_that_answers_is_named(self):
        self.listen(
            "import os, socket, time; s = socket.socket(socket.AF_UNIX); s.bind('a\\x1bsocket'); s.listen();"
            "os.chmod('a\\x1bsocket', 0o777); print('ready', flush=True); time.sleep(300)"
        )
        outcomes = self.prove(status=1)
        self.assert_reached(outcomes, "sockets in sight", f"{self.workspace}/a\x1bsocket")
        run = self.sluice("prove", "--policy", self.policy_file, "--agent", "coder-1")
        self.assertEqual(run.status, 1)
        self.assertIn("\n  REACHED    sockets in sight ", run.out)
        self.assertIn(f"\n             {self.workspace}/a\\x1bsocket\n", run.out)
        self.assertIn("\nthe sandbox leaks: 1 of ", run.out)

    def test_a_fifo_in_the_workspace_that_is_read_is_named(self):
        self.listen(
            "import os, time; os.mkfifo('fifo'); os.chmod('fifo', 0o777);"
            "f = os.open('fifo', os.O_RDONLY | os.O_NONBLOCK); print('ready', flush=True); time.sleep(300)"
        )
        self.assert_reached(self.prove(status=1), "sockets in sight", f"{self.workspace}/fifo")

    def test_a_fifo_that_nobody_reads_and_a_dead_socket_are_nothing(self):
        os.mkfifo(f"{self.workspace}/fifo")
        self.listen(
            "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('dead'); s.close();"
            "print('ready', flush=True); time.sleep(300)"
        )
        self.prove()


class LiedCase(ProveCase):
    """A kernel that says yes to a step and does not take it: no agent starts there."""

    def lying(self, lie):
        def command(*arguments):
            wrapper = [world.PYTHON, "-B", f"{world.TESTS}/kernel_lies.py", lie, "--"]
            line = [*wrapper, f"{world.BIN}/sluice", *arguments]
            return line if is_root() else as_ordinary(*line)

        return command

    def assert_no_agent(self, lie, probe, what):
        line = self.lying(lie)("run", "--agent", "coder-1", *self.policy_options, "--", "echo", "started")
        run = self.finish(self.start(line))
        self.assertEqual((run.status, run.out), (125, ""), run)
        said = (
            "sluice: error: the sandbox failed at 'self-check': the sandbox leaks: "
            f"the probe '{probe}' reached {what}"
        )
        self.assertIn(said, run.err)
        self.assertIn("\nhint: sluice prove, with the same options, tries everything\n", run.err)


class Lied(LiedCase):
    def test_a_bounding_set_that_is_not_emptied(self):
        what = "a capability in the bounding set"
        self.assert_no_agent("bounding set", "capabilities", what)
        outcomes = self.prove(status=1, command=self.lying("bounding set"))
        self.assert_reached(outcomes, "capabilities", what)

    def test_a_hard_core_limit_of_0_is_no_hindrance_but_where_cores_are_piped(self):
        line = ["bash", "-c", 'ulimit -c 0 && exec "$@"', "-", *self.command(*self.run_line("true"))]
        run = self.finish(self.start(line))
        with open("/proc/sys/kernel/core_pattern") as file:
            is_piped = file.read().startswith("|")
        self.assertEqual(run.status, 125 if is_piped and not is_root() else 0, run)
        if run.status:
            self.assertIn("hint: let it be 1 ('hard core 1' in limits.conf(5))", run.err)

    def test_a_core_limit_that_is_not_set(self):
        what = "the machine's core_pattern helper"
        self.assert_no_agent("core limit", "core files", what)
        outcomes = self.prove(status=1, command=self.lying("core limit"))
        self.assert_reached(outcomes, "core files", what)

    def test_descriptors_that_are_not_closed(self):
        self.assert_no_agent("close_range", "descriptors", "descriptor ")

    def test_a_root_that_is_not_made_read_only(self):
        outcomes = self.prove(status=1, command=self.lying("read-only root"))
        self.assertEqual(outcomes["mounts"]["outcome"], "reached")

    def test_a_session_that_is_not_the_agents_own(self):
        outcomes = self.prove(status=1, command=self.lying("setsid"))
        what = "the session that sluice was started in"
        self.assert_reached(outcomes, "controlling terminal", what)


class LiedAtASharedProxy(LiedCase, SharedCase):
    """An embedded sluiced is lied to as well, notices it first, and nothing starts either."""

    policy_options = ()

    def setUp(self):
        super().setUp()
        self.start_sluiced()

    def test_a_filter_that_is_not_loaded(self):
        self.assert_no_agent("filter", "socket families", "socket(")
        outcomes = self.prove(status=1, command=self.lying("filter"))
        for name in ("socket families", "mount", "file handles", "user namespace", "keyrings",
                     "io_uring", "limits of others", "typing"):  # fmt: skip
            self.assertEqual(outcomes[name]["outcome"], "reached", name)

    def test_a_fence_that_is_not_entered(self):
        if landlock.abi() < landlock.REFER:
            self.skipTest("this kernel has no Landlock")
        outcomes = self.prove(status=1, command=self.lying("landlock"))
        self.assertEqual(outcomes["Landlock"]["what"], "what the mounts alone leave open")
        leaks = [name for name, outcome in outcomes.items() if outcome["outcome"] not in HOLDS]
        if landlock.abi() < landlock.SCOPES:
            self.assertEqual(leaks, ["Landlock"])
            return
        self.assertEqual(leaks, ["Landlock", "signals"])
        self.assert_no_agent("landlock", "signals", "pid 1")

    def test_a_root_caller_who_does_not_become_a_host_id_of_its_own(self):
        if not is_root():
            self.skipTest("an ordinary user's agent has his host id")
        self.assert_no_agent("host id", "host root", "the machine's root, who is uid 1000 here")
