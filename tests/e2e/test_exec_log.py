"""Every program that the agent starts is a line of the audit log, and the agent does not feel it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import world
from agent import Case
from shared import FOLDER, SharedCase

# PIDFD_INFO_EXIT: how a process ended, told to who is not its parent.
TELLS_STATUS = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 15)


def read_lines(path):
    """The whole lines: the last one may be half written."""
    with open(path, "rb") as file:
        text = file.read()
    text = text[: text.rfind(b"\n") + 1]
    lines = [json.loads(line) for line in text.decode("utf-8", "strict").splitlines()]
    return [line for line in lines if line.get("event") != "agent_end"]


class ExecCase(Case):
    def setUp(self):
        super().setUp()
        self.audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"

    def logged(self, *command, options=(), **keywords):
        """Runs `command` and answers the lines of the programs that it started."""
        if os.path.exists(self.audit):
            os.unlink(self.audit)
        self.last = self.run_agent(*command, options=["--audit", self.audit, *options], **keywords)
        return [line for line in read_lines(self.audit) if line["via"] == "exec"]

    def logged_script(self, script, **keywords):
        return self.logged("bash", "-c", script, **keywords)

    def assert_status(self, line, status):
        self.assertEqual(line["exit_status"], status if TELLS_STATUS else None, line)

    def find(self, lines, *argv):
        found = [line for line in lines if line["argv"] == list(argv)]
        self.assertEqual(len(found), 1, f"{argv} in {lines}")
        return found[0]


class Lines(ExecCase):
    def test_each_program_has_its_argv_cwd_parent_duration_and_exit_status(self):
        script = 'mkdir sub; cd sub; sh -c "sleep 0.3; exit 3"; (kill -9 $BASHPID); env -i A=b true; exit 0'
        lines = self.logged_script(script)
        first = self.find(lines, "bash", "-c", script)
        self.assertEqual(first["program"], "/usr/bin/bash" if os.path.exists("/usr/bin/bash") else "/bin/bash")
        self.assertEqual((first["cwd"], first["parent"]), (self.workspace, "sluice"))
        self.assert_status(first, 0)
        nested = self.find(lines, "sh", "-c", "sleep 0.3; exit 3")
        self.assertEqual((nested["cwd"], nested["parent"]), (f"{self.workspace}/sub", "bash"))
        self.assertEqual(nested["parent_pid"], first["pid"])
        self.assertGreaterEqual(nested["ms"], 300)
        self.assertLess(nested["ms"], 30_000)
        self.assert_status(nested, 3)
        sleep = self.find(lines, "sleep", "0.3")
        self.assertEqual((sleep["parent"], sleep["parent_pid"]), ("sh", nested["pid"]))
        self.assert_status(sleep, 0)
        # What becomes another program has no end of its own.
        replaced = self.find(lines, "env", "-i", "A=b", "true")
        self.assertIsNone(replaced["exit_status"])
        self.assertIsInstance(replaced["ms"], int)
        after = self.find(lines, "true")
        self.assertEqual((after["pid"], after["parent"]), (replaced["pid"], "bash"))
        self.assert_status(after, 0)
        self.assertEqual(len(lines), 6, lines)
        for line in lines:
            self.assertEqual((line["agent"], line["error"]), ("coder-1", ""), line)
            self.assertNotIn("verdict", line)
            self.assertNotIn("argv_cut", line)

    def test_what_is_not_found_in_path_has_no_line(self):
        script = (
            "import os; os.environ['PATH'] = '/nonexistent:/etc/passwd:/etc:/usr/local/games:/usr/bin:/bin'; "
            "os.execvp('true', ['true', 'found'])"
        )
        lines = self.logged(world.PYTHON, "-c", script)
        self.assertEqual([line["argv"][-1] for line in lines], [script, "found"], lines)
        script = (
            "import os\n"
            "for name in ('./missing', '/etc/passwd', '/etc', 'x' * 300, '', '/etc/passwd/x', 'loop'):\n"
            "  try: os.execv(name, ['nothing'])\n"
            "  except OSError: pass"
        )
        os.symlink("loop", f"{self.workspace}/loop")
        lines = self.logged(world.PYTHON, "-c", script)
        self.assertEqual([line["argv"][-1] for line in lines], [script], lines)

    def test_what_cannot_be_read_is_a_line_that_says_so(self):
        """memfd_secret(2): memory that no other process can read, and the kernel can."""
        script = (
            "import ctypes, mmap, os, struct\n"
            "c = ctypes.CDLL(None, use_errno=True)\n"
            "fd = c.syscall(447, 0)\n"
            "if fd < 0: os._exit(77)\n"
            "os.ftruncate(fd, 4096)\n"
            "c.mmap.restype = ctypes.c_void_p\n"
            "at = c.mmap(None, 4096, 3, 1, fd, ctypes.c_long(0))\n"
            "ctypes.memmove(at, b'/bin/true\\0', 10)\n"
            "ctypes.memmove(at + 512, struct.pack('QQ', at, 0), 16)\n"
            "c.execve(ctypes.c_void_p(at), ctypes.c_void_p(at + 512), None)\n"
            "os._exit(1)"
        )
        lines = self.logged(world.PYTHON, "-c", script, status=None)
        if self.last.status == 77:
            self.skipTest("the kernel has no memfd_secret(2)")
        self.assertEqual(self.last.status, 0, self.last)
        self.assertEqual([line["error"] for line in lines],
                         ["", "cannot read its arguments: Bad address"], lines)  # fmt: skip

    def test_a_program_in_a_directory_whose_name_is_too_long_has_a_line(self):
        script = (
            "import os, shutil\n"
            "os.chdir('/tmp')\n"
            "for _ in range(20): os.mkdir('d' * 240); os.chdir('d' * 240)\n"
            "shutil.copy('/bin/true', 'prog')\n"
            "os.execv('./prog', ['deep'])"
        )
        lines = self.logged(world.PYTHON, "-c", script)
        self.assertEqual([line["argv"][-1] for line in lines], [script, "deep"], lines)

    def test_hostile_arguments_are_escaped_and_bounded(self):
        script = (
            "import subprocess as s\n"
            "s.run(['true', b'\\x1b[2J\\n\\r\\x07\"\\\\{}', b'\\xff\\xfe\\x80', '\\u202e\\u0085'])\n"
            "s.run(['true', 'long', *['y' * 100_000] * 10])\n"
            "s.run(['true', 'many', *['z'] * 30_000])\n"
            "s.run(['true', 'worst', *[b'\\x01\\xc2\\x85' * 1000] * 300])\n"
            "s.run(['true', 'empty', ''])\n"
            "s.run([''], executable='/bin/true')\n"
        )
        lines = self.logged(world.PYTHON, "-c", script)
        self.find(lines, "true", '\x1b[2J\n\r\x07"\\{}', "\ufffd\ufffd\ufffd", "\u202e\u0085")
        self.find(lines, "true", "empty", "")
        self.find(lines, "")
        for name in ("long", "many", "worst"):
            (line,) = [line for line in lines if line["argv"][1:2] == [name]]
            self.assertIs(line["argv_cut"], True, name)
            self.assertLessEqual(len(line["argv"]), 256)
            self.assertLessEqual(sum(map(len, line["argv"])), 4096)
        with open(self.audit, "rb") as file:
            raw = file.read()
        self.assertFalse(set(raw) & (set(range(32)) - {10}), "a raw control character")
        self.assertNotIn("\u202e".encode(), raw)
        self.assertLessEqual(max(map(len, raw.splitlines())), 64 * 1024)

    def test_a_long_working_directory_and_a_long_program_name_are_bounded(self):
        script = "d=$(printf 'd%.0s' $(seq 200)); for i in $(seq 15); do mkdir $d; cd $d; done; cp /bin/true here; ./here"
        lines = self.logged_script(script)
        (here,) = [line for line in lines if line["argv"] == ["./here"]]
        self.assertEqual(here["program"], "./here")
        self.assertLessEqual(len(here["cwd"]), 1024)
        self.assertTrue(here["cwd"].startswith(self.workspace))

    def test_programs_that_outlive_the_command_end_with_the_run(self):
        script = "setsid sh -c 'sleep 1000' & (sleep 1001 &) ; while ! pgrep -x sleep -c | grep -q 2; do :; done; exit 5"
        lines = self.logged_script(script, status=5)
        for argv in (["sleep", "1000"], ["sleep", "1001"]):
            self.assert_status(self.find(lines, *argv), 137)

    def test_descriptors_proc_self_exe_and_scripts_are_programs_too(self):
        self.write(f"{self.workspace}/script", "#!/bin/sh\nexit 4\n")
        os.chmod(f"{self.workspace}/script", 0o755)
        script = (
            "import os\n"
            "def run(f):\n"
            "  pid = os.fork()\n"
            "  if pid == 0: f()\n"
            "  os.waitpid(pid, 0)\n"
            "true = os.open('/bin/true', os.O_RDONLY | os.O_CLOEXEC)\n"
            "run(lambda: os.execve(true, ['by fd'], {}))\n"
            "m = os.memfd_create('x'); os.write(m, open('/bin/true', 'rb').read())\n"
            "run(lambda: os.execve(m, ['by memfd'], {}))\n"
            "run(lambda: os.execv('/proc/self/exe', ['python3', '-c', 'pass']))\n"
            "run(lambda: os.execv(f'/proc/self/fd/{m}', ['by proc']))\n"
            "run(lambda: os.execv('./script', ['./script', 'x']))\n"
        )
        lines = self.logged(world.PYTHON, "-c", script)
        self.assertRegex(self.find(lines, "by fd")["program"], r"/bin/true$")
        self.assertIn("memfd:x", self.find(lines, "by memfd")["program"])
        self.assertEqual(self.find(lines, "python3", "-c", "pass")["program"], "/proc/self/exe")
        self.find(lines, "by proc")
        self.assert_status(self.find(lines, "./script", "x"), 4)

    def test_no_log_exec_ends_it(self):
        script = "grep -c . /proc/self/status; grep Seccomp_filters /proc/self/status"
        self.assertTrue(self.logged_script(script))
        with_log = self.last.out
        self.assertEqual(self.logged_script(script, options=["--no-log-exec"]), [])
        filters = [int(out.split()[-1]) for out in (with_log, self.last.out) if "filters" in out]
        if filters:
            self.assertEqual(filters[0], filters[1] + 1)

    def test_the_steps_of_a_dry_run_say_whether_it_logs(self):
        said = "every program that the agent starts is an audit line"
        self.assertIn(said, self.run_agent("true", options=["--dry-run"]).out)
        self.assertNotIn(said, self.run_agent("true", options=["--dry-run", "--no-log-exec"]).out)

    def test_a_command_that_is_not_found_is_127_and_has_no_line(self):
        self.assertEqual(self.logged("no-such-command", status=127), [])

    def test_the_tools_that_read_the_audit_log_pass_over_the_lines(self):
        self.logged_script("true; curl -s -m 60 http://other.test/; true")
        run = self.sluice("policy", "suggest", self.audit)
        self.assertIn("other.test", run.out, run)
        self.assertNotIn("not understood", run.out + run.err)
        run = self.sluice("policy", "replay", self.policy_file, self.audit)
        self.assertEqual(run.status, 0, run)


class Everyday(ExecCase):
    def test_programs_that_start_others_by_vfork_and_threads_work(self):
        """posix_spawn, subprocess, node, make -j, many threads at once."""
        self.write(f"{self.workspace}/Makefile", "all: a b c d\na b c d:\n\t@true $@; echo made $@\n")
        script = (
            "import os, subprocess as s, threading as t\n"
            "os.waitpid(os.posix_spawn('/bin/true', ['true', 'spawned'], {}), 0)\n"
            "s.run(['true', 'vforked'])\n"
            "def many(n): [s.run(['true', f'thread {n} {i}'], check=True) for i in range(20)]\n"
            "threads = [t.Thread(target=many, args=(n,)) for n in range(8)]\n"
            "[x.start() for x in threads]; [x.join() for x in threads]\n"
            "pid = os.fork()\n"
            "if pid == 0: x = t.Thread(target=os.execv, args=('/bin/true', ['true', 'of a thread'])); x.start(); x.join()\n"
            "print(os.waitpid(pid, 0)[1])\n"
        )
        line = ["bash", "-c", 'make -sj4; exec "$0" -c "$1"', world.PYTHON, script]
        lines = self.logged(*line)
        self.assertEqual(sorted(self.last.out.split("\n")), ["", "0", "made a", "made b", "made c", "made d"])
        said = [line["argv"][1] for line in lines if line["argv"][0] == "true"]
        threads = [f"thread {n} {i}" for n in range(8) for i in range(20)]
        self.assertEqual(sorted(said), sorted([*threads, "spawned", "vforked", "of a thread"]))
        for line in lines:
            if line["argv"][0] == "true":
                self.assert_status(line, 0)
        if shutil.which("node"):
            code = "console.log(require('child_process').execFileSync('echo', ['by node']).toString())"
            lines = self.logged("node", "-e", code)
            self.assertIn("by node", self.last.out)
            self.find(lines, "echo", "by node")

    def test_tracers_work_inside(self):
        for tool in ("strace", "gdb"):
            if not shutil.which(tool):
                continue
            with self.subTest(tool):
                if tool == "strace":
                    line = ["strace", "-f", "-o", "trace", "sh", "-c", "true; /bin/true x; exit 7"]
                else:
                    line = ["gdb", "-q", "-batch", "-ex", "run", "-ex", "quit $_exitcode", "--args",
                            "/bin/sh", "-c", "/bin/true x; exit 7"]  # fmt: skip
                lines = self.logged(*line, status=7)
                self.find(lines, "/bin/true", "x")
        with open(f"{self.workspace}/trace") as file:
            self.assertIn('execve("/bin/true", ["/bin/true", "x"]', file.read())

    def test_a_program_that_changes_a_system_call_into_exec_under_ptrace_is_seen(self):
        lines = self.logged(world.PYTHON, "inside/hidden_exec.py")
        self.assertIn("started", self.last.out)
        self.find(lines, "true", "hidden")

    def test_the_agent_holds_no_descriptor_of_the_log(self):
        run = self.run_agent("ls", "-l", "/proc/self/fd")
        self.assertNotIn("seccomp", run.out)
        self.assertNotIn("socket", run.out)
        self.assertEqual(len(re.findall(r" -> ", run.out)), 4, run)  # 0, 1, 2 and the directory

    def test_a_filter_of_the_agents_own_hides_nothing(self):
        """ERRNO, TRACE and LOG of its own, and a listener of its own, which there cannot be."""
        lines = self.logged(world.PYTHON, "inside/own_filter.py")
        self.assertIn("listener EBUSY", self.last.out)
        self.assertIn("log 0", self.last.out)
        self.assertIn("errno EPERM", self.last.out)
        self.find(lines, "true", "log")


class Attacks(ExecCase):
    def test_a_storm_of_programs_is_bounded_and_every_program_is_counted(self):
        count = 3000
        script = (
            "import os, sys\n"
            f"for w in range(4):\n"
            "  if os.fork() == 0:\n"
            f"    for i in range({count // 4}):\n"
            "      os.waitpid(os.posix_spawn('/bin/true', ['true', 'x' * 3000], {}), 0)\n"
            "    os._exit(0)\n"
            "[os.wait() for w in range(4)]\n"
        )
        lines = self.logged(world.PYTHON, "-c", script, timeout=300)
        gaps = [line for line in read_lines(self.audit) if line["via"] == "event"]
        left_out = sum(line["count"] for line in gaps)
        self.assertEqual(len(lines) + left_out, count + 1, f"{gaps} {self.last}")

    def test_processes_that_never_end_are_bounded_too(self):
        count = 1200
        script = (
            "import os\n"
            f"for i in range({count}): os.posix_spawn('/bin/sleep', ['sleep', '1000'], {{}})\n"
        )
        lines = self.logged(world.PYTHON, "-c", script, timeout=300)
        sleeps = [line for line in lines if line["argv"][0] == "sleep"]
        self.assertEqual(len(sleeps), count)
        without_end = [line for line in sleeps if line["ms"] is None]
        self.assertGreaterEqual(len(without_end), count - 1024)
        self.assertTrue(all(line["exit_status"] is None for line in without_end))

    def test_killing_and_stopping_in_the_middle_of_exec_leaves_the_log_alive(self):
        script = (
            "import os, random, signal, time\n"
            "for i in range(300):\n"
            "  pid = os.fork()\n"
            "  if pid == 0:\n"
            "    while True:\n"
            "      if os.fork() == 0: os.execv('/bin/true', ['true'])\n"
            "      os.wait()\n"
            "  time.sleep(random.random() / 500)\n"
            "  os.kill(pid, signal.SIGSTOP); os.kill(pid, signal.SIGCONT); os.kill(pid, signal.SIGKILL)\n"
            "  os.waitpid(pid, 0)\n"
            "pid = os.fork()\n"
            "if pid == 0: os.kill(os.getpid(), signal.SIGSTOP); os.execv('/bin/true', ['true', 'later'])\n"
            "os.waitpid(pid, os.WUNTRACED); os.posix_spawn('/bin/true', ['true', 'between'], {}); os.kill(pid, signal.SIGCONT)\n"
            "print(os.waitpid(pid, 0)[1])\n"
        )
        lines = self.logged(world.PYTHON, "-c", script)
        self.assertEqual(self.last.out, "0\n")
        self.find(lines, "true", "between")
        self.find(lines, "true", "later")

    def test_arguments_that_change_while_they_are_read_break_nothing(self):
        lines = self.logged(world.PYTHON, "inside/racing_argv.py")
        self.assertIn("done", self.last.out)
        self.assertTrue(lines)

    def test_when_the_log_dies_the_run_ends_and_no_program_starts_unseen(self):
        script = "echo up; while :; do /bin/true || exit 9; done"
        process = self.start_agent("bash", "-c", script)
        self.assertEqual(process.stdout.readline(), b"up\n")
        watchers = [pid for pid, line in self.names().items() if line == "sluice-execs"]
        self.assertEqual(len(watchers), 1)
        os.kill(watchers[0], signal.SIGKILL)
        run = self.finish(process)
        self.assertEqual(run.status, 125, run)
        self.assertIn("the commands log died", run.err)

    def test_when_the_log_dies_and_the_agents_end_is_heard_of_first_the_run_ends_as_well(self):
        process = self.start_agent("bash", "-c", "echo up; while /bin/true; do :; done; exit 9")
        self.assertEqual(process.stdout.readline(), b"up\n")
        (watcher,) = [pid for pid, line in self.names().items() if line == "sluice-execs"]
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # what the watcher says meanwhile stands before its death
        os.kill(watcher, signal.SIGKILL)
        while any(line.startswith("bash -c echo up") for line in world.processes().values()):
            time.sleep(0.02)
        process.send_signal(signal.SIGCONT)
        run = self.finish(process)
        self.assertEqual(run.status, 125, run)
        self.assertIn("the commands log died", run.err)

    def test_a_supervisor_that_reads_late_hears_all_that_was_seen(self):
        """The end of what the watcher says is no more lost than the rest where its socket is full."""
        for count in range(32, 97, 8):  # one of them fills it
            with self.subTest(count):
                done = self.write(f"{self.workspace}/working", "")
                script = f"echo up; read x; for i in {{1..{count}}}; do /bin/true $i {'x' * 3900}; done; rm {done}"
                if os.path.exists(self.audit):
                    os.unlink(self.audit)
                line = self.run_line("bash", "-c", script, options=["--audit", self.audit])
                process = self.start(self.command(*line), subprocess.PIPE)
                self.assertEqual(process.stdout.readline(), b"up\n")
                process.send_signal(signal.SIGSTOP)
                process.stdin.write(b"go\n")
                process.stdin.flush()
                while os.path.exists(done):
                    time.sleep(0.02)
                time.sleep(0.3)  # the watcher says the rest, and has no room for the end
                process.send_signal(signal.SIGCONT)
                run = self.finish(process)
                self.assertEqual(run.status, 0, run)
                self.assertEqual(run.err, "sluice: coder-1: allowed 0, blocked 0\n")
                told = [int(one["argv"][1]) for one in read_lines(self.audit) if one.get("argv", [""])[0] == "/bin/true"]
                self.assertEqual(sorted(told), list(range(1, count + 1)))

    def test_a_program_that_is_reaped_late_has_its_exit_status(self):
        """As where a machine stalls: all have ended, and pid 1 has not heard of the last one yet."""
        script = "echo up; read x; exit 3"
        line = self.run_line("bash", "-c", script, options=["--audit", self.audit])
        process = self.start(self.command(*line), subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"up\n")
        (init,) = [pid for pid, name in world.processes().items() if name.startswith("sluice-init")]
        os.kill(init, signal.SIGSTOP)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        while any(line.startswith("bash -c echo up") for line in world.processes().values()):
            time.sleep(0.02)
        time.sleep(1)  # it could be told without its status meanwhile
        os.kill(init, signal.SIGCONT)
        self.assertEqual(self.finish(process).status, 3)
        self.assert_status(self.find(read_lines(self.audit), "bash", "-c", script), 3)

    def names(self):
        found = {}
        for pid in world.processes():
            try:
                with open(f"/proc/{pid}/comm") as file:
                    found[pid] = file.read().strip()
            except OSError:
                continue
        return found

    def test_nothing_of_it_is_left_when_the_supervisor_is_killed(self):
        process = self.start_agent("bash", "-c", "echo up; sleep 300")
        self.assertEqual(process.stdout.readline(), b"up\n")
        started = set(world.processes()) - self._before
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        end = time.monotonic() + 60
        while started & set(world.processes()):
            self.assertLess(time.monotonic(), end, world.processes())
            time.sleep(0.05)

    def test_where_there_can_be_no_listener_it_is_said_and_the_run_goes_on(self):
        line = [world.PYTHON, f"{world.INSIDE}/own_filter.py", "outer"]
        command = self.command(*self.run_line("true", options=["--audit", self.audit]))
        at = command.index(f"{world.BIN}/sluice")
        run = self.finish(self.start([*command[:at], *line, *command[at:]]))
        self.assertEqual(run.status, 0, run)
        self.assertIn("commands are not logged", run.err)
        self.assertEqual(read_lines(self.audit), [])


class AtASharedProxy(SharedCase):
    def test_its_audit_log_has_the_lines_and_its_metric_counts_them(self):
        self.start_sluiced()
        run = self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", "true; /bin/true a; /bin/true b")
        self.assertEqual(run.status, 0, run)
        self.wait_until(lambda: len(self.execs()) == 3, "the lines do not come")
        self.assertEqual({line["argv"][-1] for line in self.execs()}, {"a", "true; /bin/true a; /bin/true b", "b"})
        told = '\nsluice_execs_total{agent="coder-1"} 3\n'
        self.wait_until(lambda: told in self.metrics(), told)

    def execs(self):
        return [line for line in read_lines(self.audit) if line["via"] == "exec"]

    def metrics(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(f"{FOLDER}/admin.sock")
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def test_a_sluiced_that_is_started_again_gets_the_lines_of_the_time_between(self):
        daemon = self.start_sluiced()
        script = "/bin/true before; echo up; read line; /bin/true between; echo ran; read line; /bin/true after"
        agent = self.start(self.command("run", "--agent", "coder-1", "--", "bash", "-c", script), subprocess.PIPE)
        self.assertEqual(agent.stdout.readline(), b"up\n")
        self.wait_until(lambda: len(self.execs()) == 1, "the first line does not come")
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(60)
        agent.stdin.write(b"go\n")
        agent.stdin.flush()
        self.assertEqual(agent.stdout.readline(), b"ran\n")
        self.start_sluiced()
        self.wait_until(lambda: len(self.execs()) == 2, "the line of the time between does not come")
        run = self.finish(agent, stdin=b"go\n")
        self.assertEqual(run.status, 0, run)
        self.wait_until(lambda: len(self.execs()) == 4, "the last lines do not come")
        self.assertEqual(sorted(line["argv"][-1] for line in self.execs()), sorted(["before", "between", "after", script]))
