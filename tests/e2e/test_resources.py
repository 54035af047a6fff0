""""Limits are for all that an agent starts."

What an agent may use of the machine: --memory, --cpus, --pids, and what is left of their groups.

Where no control group can be made (an ordinary user without a delegated one) rlimits take their
place, and sluice says so.
"""

import errno
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import textwrap
import time
import unittest

import world
from agent import DELEGATED, Case, has_groups, is_root

PREFIX = "sluice-"
FILES = {
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "pids": ("pids.max", "pids.max"),
    "cpu": ("cpu.max", "cpu.cfs_quota_us"),
}
MIB = 1 << 20

# Takes 16 MiB at a time, and says how much it had; ends by itself when it has `sys.argv[1]` MiB.
HOG = """
import sys
held = []
while len(held) * 16 < int(sys.argv[1]):
    held.append(bytearray(b"x") * (16 << 20))
print("had", len(held) * 16)
"""

# At most 300 children, all of which end with it.
BOMB = """
import os, signal, sys
children = []
try:
    for _ in range(300):
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except OSError as error:
    print(error.strerror)
print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def mounts():
    """(type, mount point, options) of every control group hierarchy."""
    with open("/proc/self/mounts") as file:
        lines = [line.split() for line in file]
    return [(line[2], line[1], line[3].split(",")) for line in lines if line[2].startswith("cgroup")]


def groups_of(pid):
    """The directories of a process's groups, by controller; "" is cgroup v2's."""
    found = {}
    with open(f"/proc/{pid}/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for kind, point, options in mounts():
                names = [name for name in controllers.split(",") if name]
                if names and kind == "cgroup" and set(names) <= set(options):
                    found |= {name: point + path.rstrip("/") for name in names}
                elif not names and kind == "cgroup2":
                    found[""] = point + path.rstrip("/")
    return found


def left(pid):
    """The control groups that the sluice of that number has left; in another test's world it may be a number as well."""
    return [
        f"{folder}/{name}"
        for _, point, _ in mounts()
        for folder, folders, _ in os.walk(point)
        for name in folders
        if name.startswith(f"{PREFIX}{pid}-") and not is_held(f"{folder}/{name}")
    ]


def is_held(group):
    """By the sluice that made it, which is running."""
    try:
        descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True  # of another test, and removed meanwhile
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def can_make_groups():
    """Whether root's agents get control groups: on cgroup v2 its own group holds other processes here."""
    own = groups_of(os.getpid())
    if "pids" not in own:
        return "" in own and any(own[""] == point for _, point, _ in mounts())
    return all(os.access(own[name], os.W_OK) for name in ("memory", "pids", "cpu") if name in own)


class ResourcesCase(Case):
    def setUp(self):
        super().setUp()
        if is_root() and not can_make_groups():
            self.skipTest("root can make no control groups here")

    def start_sleeping(self, *options):
        """An agent that sleeps; answers the process of sluice and the agent's groups."""
        return self.sleeping(*self.run_line("sleep", "300", options=options))

    def sleeping(self, *line):
        before = world.processes()
        process = self.start(self.command(*line))
        self.addCleanup(process.communicate)
        self.addCleanup(process.terminate)  # killed, it would leave its groups to the next run
        for _ in range(3000):
            for pid, command in world.processes().items():
                if pid not in before and command == "sleep 300":
                    return process, pid
            time.sleep(0.02)
        self.fail(f"no agent: {world.processes()}")

    def own_groups(self, pid):
        return {path for path in groups_of(pid).values() if f"/{PREFIX}" in path}

    def value(self, pid, controller):
        """What is written for a controller in the group of `pid`, whichever version it is."""
        found = groups_of(pid)
        folder = found.get(controller, found.get(""))
        for name in FILES[controller]:
            if os.path.exists(f"{folder}/{name}"):
                with open(f"{folder}/{name}") as file:
                    return file.read().strip()
        self.fail(f"no {controller} in {folder}")

    def script(self, name, text):
        return self.write(f"{self.workspace}/{name}", textwrap.dedent(text))

    def assert_gone(self, paths, seconds=60):
        end = time.monotonic() + seconds
        while any(os.path.exists(path) for path in paths) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual([path for path in paths if os.path.exists(path)], [])


class Memory(ResourcesCase):
    def hog(self, megabytes, *options, **keywords):
        command = (world.PYTHON, self.script("hog.py", HOG), str(megabytes))
        return self.run_agent(*command, options=options, **keywords)

    def test_an_agent_that_uses_up_its_memory_is_ended_and_the_last_line_says_so(self):
        if not has_groups():
            run = self.hog(256, "--memory", "64MiB", status=1)
            self.assertIn("MemoryError", run.err)
            self.assertIn("--memory 64 MiB holds for each process alone, not for the agent", run.err)
            return
        run = self.hog(256, "--memory", "64MiB", status=137)
        self.assertNotIn("had", run.out)
        last = run.err.strip().splitlines()[-1]
        self.assertTrue(last.startswith("sluice: coder-1: "), run)
        self.assertTrue(last.endswith("; the agent was ended: memory limit 64 MiB reached"), run)

    def test_that_of_a_detached_run_is_told_in_its_log(self):
        """Its three processes must not be in the way of a delegated group's controllers."""
        if not has_groups():
            self.skipTest("without control groups nobody says why it ended")
        environment = self.environment
        environment["XDG_STATE_HOME"] = f"{self.home}/state-{os.path.basename(self.workspace)}"
        hog = self.script("hog", HOG)
        line = self.run_line(world.PYTHON, hog, "400", options=["--detach", "--memory", "64MiB"])
        started = self.sluice(*line)
        self.assertEqual(started.status, 0, started)
        log = self.sluice("logs", "coder-1", "-f")
        self.assertIn("the agent was ended: memory limit 64 MiB reached", log.out + log.err, log)

    def test_an_agent_within_its_limit_and_one_without_a_limit_hear_nothing_of_it(self):
        for options in (("--memory", "512MiB"), ()):
            with self.subTest(options):
                run = self.hog(192, *options)
                self.assertEqual(run.out, "had 192\n")
                self.assertNotIn("limit", run.err.strip().splitlines()[-1])

    def test_files_in_its_tmpfs_count_as_its_memory(self):
        if not has_groups():
            self.skipTest("an rlimit counts no files")
        run = self.shell("head -c 200M /dev/zero > /tmp/x", options=("--memory", "64MiB"), status=None)
        self.assertNotEqual(run.status, 0, run)
        self.assertIn("memory limit 64 MiB reached", run.err)


class Processes(ResourcesCase):
    def test_a_fork_bomb_stops_at_the_limit_and_the_machine_forks_on(self):
        path = self.script("bomb.py", BOMB)
        run = self.run_agent(world.PYTHON, path, options=("--pids", "64"))
        error, count = run.out.splitlines()
        self.assertEqual(error, "Resource temporarily unavailable")
        self.assertGreater(int(count), 32)
        self.assertLess(int(count), 64)
        self.assertEqual(subprocess.run(["true"], timeout=60).returncode, 0)
        if has_groups():
            self.assertTrue(run.err.strip().endswith("; its limit of 64 processes was reached once"))
        else:
            self.assertIn("--pids 64 is an rlimit", run.err)

    def test_without_a_flag_4096_processes_are_the_limit_and_nothing_is_said(self):
        if has_groups():
            process, pid = self.start_sleeping()
            self.assertEqual(self.value(pid, "pids"), "4096")
            self.assertEqual(len(self.own_groups(pid)), 1)  # nothing but what is limited
            return
        run = self.shell("ulimit -u; ulimit -d")
        self.assertEqual(run.out, "4096\nunlimited\n")
        self.assertNotIn("rlimit", run.err)

    def test_three_hundred_children_are_below_the_default(self):
        run = self.run_agent(world.PYTHON, self.script("bomb.py", BOMB))
        self.assertEqual(run.out, "300\n")


class Cpus(ResourcesCase):
    def test_cpus_are_a_share_of_each_tenth_of_a_second(self):
        process, pid = self.start_sleeping("--cpus", "1.5")
        if has_groups():
            self.assertIn(self.value(pid, "cpu"), ("150000", "150000 100000"))
            return
        process.kill()
        notices = process.stderr.read().decode()
        self.assertIn("--cpus 1.5 is not kept; no control group: ", notices)
        self.assertIn("'sluice doctor' says what mends it", notices)


class Groups(ResourcesCase):
    """Where the groups are, and that none outlives its run."""

    ALL = ("--memory", "512MiB", "--cpus", "2", "--pids", "100")

    def setUp(self):
        super().setUp()
        if not has_groups():
            self.skipTest("an ordinary user without a delegated control group makes none")

    def test_they_are_below_the_group_of_sluice_and_hold_the_agent_but_not_sluice(self):
        process, pid = self.start_sleeping(*self.ALL)
        above = {name: f"{path}/" for name, path in groups_of(os.getpid()).items()}
        if DELEGATED and not is_root():
            above = {"": f"{DELEGATED}/run.[^/]+/"}
        agents = groups_of(pid)
        for controller in ("memory", "pids", "cpu"):
            name = controller if controller in agents else ""
            self.assertRegex(agents[name], f"^{above[name]}{PREFIX}", agents)
            with open(f"{agents[name]}/cgroup.procs") as file:
                members = {int(line) for line in file}
            self.assertIn(pid, members)
            self.assertNotIn(process.pid, members)
            for other, line in world.processes().items():
                if "sluiced" in line and other not in self._before:
                    self.assertNotIn(other, members)
            self.assertEqual(os.stat(agents[name]).st_mode & 0o777, 0o700)

    def test_memory_is_limited_with_the_swap_it_could_take(self):
        _, pid = self.start_sleeping("--memory", "64MiB")
        agents = groups_of(pid)
        folder = agents.get("memory", agents.get(""))
        values = {}
        for name in os.listdir(folder):
            if name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max",
                        "memory.swap.max", "memory.oom.group"):  # fmt: skip
                with open(f"{folder}/{name}") as file:
                    values[name] = int(file.read())
        swap = {"memory.swap.max": 0, "memory.oom.group": 1}
        self.assertGreaterEqual(len(values), 1)
        self.assertEqual(values, {name: swap.get(name, 64 * MIB) for name in values})

    def test_swap_is_what_was_asked_for_beside_memory(self):
        _, pid = self.start_sleeping("--memory", "64MiB", "--swap", "16MiB")
        agents = groups_of(pid)
        folder = agents.get("memory", agents.get(""))
        values = {}
        for name in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
            if os.path.exists(f"{folder}/{name}"):
                with open(f"{folder}/{name}") as file:
                    values[name] = int(file.read())
        if not values:
            self.skipTest("this kernel does not count swap")
        wanted = {"memory.memsw.limit_in_bytes": 80 * MIB, "memory.swap.max": 16 * MIB}
        self.assertEqual(values, {name: wanted[name] for name in values})

    def test_a_weight_of_the_disk_is_set_or_said_not_to_be(self):
        process, pid = self.start_sleeping("--io-weight", "50")
        agents = groups_of(pid)
        folder = agents.get("blkio", agents.get(""))
        self.assertIn(f"/{PREFIX}", folder)
        weights = {}
        for name in ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"):
            if os.path.exists(f"{folder}/{name}"):
                with open(f"{folder}/{name}") as file:
                    weights[name] = file.readline().split()[-1]
        process.terminate()
        run = self.finish(process)
        if weights:
            self.assertEqual(set(weights.values()), {"50"}, run)
            self.assertNotIn("--io-weight", run.err)
        else:
            why = "(: this kernel has no weights of I/O|; no control group: no control group has the controller io)"
            self.assertRegex(run.err, f"--io-weight 50 is not kept{why}")

    def test_a_run_leaves_none_however_it_ends(self):
        for command, status in ((("true",), 0), (("no-such-program",), 127), (("/usr",), 126)):
            with self.subTest(command):
                process = self.start(self.command(*self.run_line(*command, options=self.ALL)))
                self.assertEqual(self.finish(process).status, status)
                self.assertEqual(left(process.pid), [])

    def test_a_run_that_fails_after_it_has_made_its_groups_leaves_none(self):
        process, _ = self.start_sleeping()  # has the name
        second = self.start(self.command(*self.run_line("true", options=self.ALL)))
        self.assertEqual(self.finish(second).status, 125)
        self.assertEqual(left(second.pid), [])

    def test_what_kill_9_of_sluice_leaves_is_removed_by_the_next_run(self):
        if DELEGATED and not is_root():
            self.skipTest("the next run has another delegated group")
        process, pid = self.start_sleeping(*self.ALL)
        groups = self.own_groups(pid)
        self.assertGreaterEqual(len(groups), 1)
        other, other_pid = self.other_run()
        process.kill()
        process.wait(timeout=60)
        self.await_ends_in(groups)  # a group that holds somebody cannot be removed
        self.run_agent("true")
        self.assert_gone(groups)
        # A run that lives keeps its own.
        self.assertEqual(len(self.own_groups(other_pid)), 1)
        self.assertIsNone(other.poll())

    def await_ends_in(self, groups):
        """A run of another test on this machine may be the next one, and has removed them then."""
        end = time.monotonic() + 60
        while members := "".join(map(self.members, groups)):
            self.assertLess(time.monotonic(), end, members)
            time.sleep(0.02)

    def members(self, group):
        try:
            return pathlib.Path(group, "cgroup.procs").read_text()
        except OSError as error:
            self.assertIn(error.errno, (errno.ENOENT, errno.ENODEV))
            return ""

    def other_run(self):
        with open(self.policy_file) as file:
            text = file.read().replace("coder-1", "coder-2")
        policy = self.write(f"{os.path.dirname(self.policy_file)}/other.yaml", text)
        return self.sleeping("run", "--policy", policy, "--", "sleep", "300")

    def test_a_limit_that_the_kernel_refuses_ends_the_run_before_it_starts(self):
        """On cgroup v1 no group may have a larger share than the one it is in."""
        own = groups_of(os.getpid())
        if "cpu" not in own:
            self.skipTest("cgroup v2 takes any value and keeps the smallest")
        outer = tempfile.mkdtemp(prefix="e2e-", dir=own["cpu"])
        self.addCleanup(os.rmdir, outer)
        with open(f"{outer}/cpu.cfs_quota_us", "w") as file:
            file.write("50000")
        join = ["bash", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', outer]
        for cpus, status in (("4", 125), ("0.25", 0)):
            with self.subTest(cpus):
                line = self.run_line("true", options=("--cpus", cpus))
                run = self.finish(self.start([*join, *self.command(*line)]))
                self.assertEqual(run.status, status, run)
                if status:
                    self.assertIn("cannot write '400000' to", run.err)
                    self.assertIn("the control group that sluice was started in allows less", run.err)
                self.assertEqual([name for name in os.listdir(outer) if PREFIX in name], [])


class AgentsView(ResourcesCase):
    def test_an_agent_cannot_see_or_change_its_limits(self):
        outside = [f"{point}/{name}" for _, point, _ in mounts() for name in ("cgroup.procs", "tasks")]
        jobs = [["write", path] for path in outside] + [
            ["list", "/sys/fs/cgroup"],
            ["mkdir", "/sys/fs/cgroup/x"],
            ["read", "/proc/self/cgroup"],
            ["read", "/proc/1/cgroup"],
        ]
        path = self.write(f"{self.workspace}/jobs.json", json.dumps(jobs))
        told = self.probe("files", path, options=("--memory", "512MiB", "--pids", "64"))
        for name in outside:
            self.assertIn(told[f"write {name}"], ("ENOENT", "EACCES", "ENOTDIR"), told)
        self.assertIn(told["list /sys/fs/cgroup"], ([], "ENOENT"))
        self.assertIn(told["mkdir /sys/fs/cgroup/x"], ("EROFS", "EACCES", "ENOENT", "EPERM"))
        for name in ("self", "1"):
            lines = told[f"read /proc/{name}/cgroup"].splitlines()
            self.assertTrue(lines)
            if has_groups():
                # Its namespace begins at its group: nothing of the host's tree has a name in it.
                self.assertEqual([line for line in lines if not line.endswith(":/")], [])

    def test_an_rlimit_cannot_be_raised_from_inside(self):
        if has_groups():
            self.skipTest("control groups limit it")
        run = self.shell("ulimit -u 5000; ulimit -d unlimited; ulimit -u; ulimit -d",
                         options=("--pids", "64", "--memory", "64MiB"))  # fmt: skip
        self.assertEqual(run.out.split(), ["64", "65536"])

    def test_a_bind_of_the_machines_control_groups_is_refused(self):
        run = self.run_agent("true", options=("--bind", "/sys/fs/cgroup:/x:rw"), status=125)
        self.assertIn("would show the machine's own /sys", run.err)


class Values(ResourcesCase):
    def test_what_is_no_limit_is_refused_with_what_is(self):
        cases = {
            ("--memory", "1KiB"): "is not a size",
            ("--memory", "1MiB"): "is too small",
            ("--cpus", "0"): "is not a number of CPUs",
            ("--pids", "many"): "is not a number of processes",
        }
        for options, sentence in cases.items():
            with self.subTest(options):
                run = self.run_agent("true", options=options, status=125)
                self.assertIn(sentence, run.err)
                self.assertIn("hint: ", run.err)

    def test_a_dry_run_names_the_limits_and_makes_nothing(self):
        process = self.start(self.command(*self.run_line("true", options=("--dry-run", "--pids", "64"))))
        run = self.finish(process)
        self.assertEqual(run.status, 0, run)
        step = "make a control group of at most 64 processes"
        if not has_groups():
            step = "limit the agent to 64 processes by an rlimit"
        self.assertIn(f"     - {step}\n", run.out)
        self.assertEqual(left(process.pid), [])


if __name__ == "__main__":
    unittest.main()


class SharesAndSwap(Case):
    def test_what_makes_no_sense_is_refused(self):
        for options, sentence in ((("--swap", "1GiB"), "--swap stands without --memory"),
                                  (("--io-weight", "0"), "'0' is not an I/O weight"),
                                  (("--io-weight", "10001"), "'10001' is not an I/O weight")):  # fmt: skip
            with self.subTest(options):
                run = self.run_agent("true", options=options, status=125)
                self.assertIn(sentence, run.err, run)

    def test_without_control_groups_they_are_said_not_to_be_kept(self):
        if has_groups():
            self.skipTest("this caller's agents have control groups")
        run = self.run_agent("true", options=("--memory", "1GiB", "--swap", "0", "--io-weight", "7"))
        self.assertIn("--io-weight 7 is not kept", run.err, run)
        self.assertIn("--swap 0 bytes is not kept", run.err, run)
