"""What an agent's programs say on a standard error that is no terminal: heard, and passed on as it came."""

import contextlib
import ctypes
import hashlib
import os
import signal
import socket
import subprocess
import time

import world
from agent import Case

FAILS = "touch /etc/of-touch; echo x >/opt/of-the-shell; exit 3"
TOLD = """sluice: it failed, and its programs said "Read-only file system" of '/etc/of-touch' and '/opt/of-the-shell' """
HINT = "sluice: where a read-only root is why it failed"
# What the descriptors are, told on a fourth way: the workspace.
WHICH = """python3 -c 'import os; open("which", "w").write(" ".join(str(os.fstat(fd).st_ino) for fd in (0, 1, 2)))'"""


def inode(fd):
    return os.fstat(fd).st_ino


class StderrCase(Case):
    def begin(self, *command, options=(), **streams):
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        line = self.command(*self.run_line(*command, options=options))
        process = subprocess.Popen(line, cwd=self.workspace, env=self.environment, **streams)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def pass_through(self, script, status=0, options=(), **streams):
        """Answers the bytes of standard output and standard error."""
        process = self.begin("bash", "-c", script, options=options, **streams)
        said = process.communicate(timeout=120)
        self.assertEqual(process.returncode, status, said)
        return said

    def wait_for(self, condition, message):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end, message)
            time.sleep(0.1)

    def wait_for_end_of_yes(self):
        """Of an agent whose script begins with `yes` in the background, and that makes the file `alive` then."""
        self.wait_for(lambda: os.path.exists(f"{self.workspace}/alive"), "it does not begin")
        begins = ("yes", "bash -c yes")  # on its way to be that
        self.wait_for(lambda: not any(line.startswith(begins) for line in world.processes().values()), "it lives on")

    def named(self, name):
        """The processes of that name, those that have ended and were not reaped as well."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/comm") as file:
                found += [int(pid)] if file.read().strip() == name else []
        return found

    def which(self):
        with open(f"{self.workspace}/which") as file:
            return [int(number) for number in file.read().split()]


class Paths(StderrCase):
    def test_that_were_found_read_only_are_named_of_a_pipe(self):
        _, said = self.pass_through(FAILS, 3)
        self.assertIn(TOLD, said.decode())
        self.assertNotIn(HINT, said.decode())

    def test_are_named_where_both_streams_are_one_pipe(self):
        said, _ = self.pass_through(FAILS, 3, stderr=subprocess.STDOUT)
        self.assertIn(TOLD, said.decode())

    def test_are_named_of_a_socket_which_is_what_other_programs_give_their_children(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = self.begin("bash", "-c", FAILS, stderr=theirs)
            theirs.close()
            with ours.makefile("rb") as file:
                said = file.read()
        self.assertEqual(process.wait(60), 3)
        self.assertIn(TOLD, said.decode())

    def test_are_named_of_a_file_but_not_what_was_in_it_before(self):
        path = f"{self.workspace}/errors"
        self.write(path, "touch: cannot touch '/etc/of-yesterday': Read-only file system\n")
        with open(path, "a") as file:
            self.pass_through(FAILS, 3, stderr=file)
        with open(path) as file:
            said = file.read()
        self.assertIn(TOLD, said)
        self.assertNotIn("of-yesterday", said[said.index("sluice: it failed") :])

    def test_that_stand_before_the_last_mebibyte_of_a_file_are_not_named(self):
        path = f"{self.workspace}/errors"
        with open(path, "w") as file:
            self.pass_through("touch /etc/early; head -c 1200000 /dev/zero >&2; echo >&2; touch /etc/late; exit 1", 1, stderr=file)
        with open(path) as file:
            end = file.read().rpartition("sluice: it failed")[2]
        self.assertIn("of '/etc/late' (", end)
        self.assertNotIn("early", end)

    def test_are_named_in_the_log_of_a_detached_run(self):
        self.assertEqual(self.sluice(*self.run_line("bash", "-c", FAILS, options=["--detach"])).status, 0)
        said = self.sluice("logs", "--follow", "coder-1")
        self.assertIn(TOLD, said.out, said)

    def test_are_not_named_of_a_run_that_succeeds_or_fails_otherwise(self):
        _, said = self.pass_through("touch /etc/x; exit 0")
        self.assertNotIn("sluice: it failed", said.decode())
        _, said = self.pass_through("echo nothing of that kind >&2; exit 1", 1)
        self.assertNotIn("sluice: it failed", said.decode())
        self.assertNotIn("--learn-writes", said.decode())

    def test_of_descriptors_that_cannot_be_heard_are_looked_for_with_learn_writes(self):
        """A reader of datagrams: each write is one, so nobody may pass them on in pieces."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            process = self.begin("bash", "-c", FAILS, stderr=theirs)
            self.assertEqual(process.wait(60), 3)
            ours.setblocking(False)
            said = b""
            while True:
                try:
                    said += ours.recv(65536)
                except BlockingIOError:
                    break
        self.assertIn("cannot touch '/etc/of-touch'", said.decode())
        self.assertIn(HINT, said.decode())


class Bytes(StderrCase):
    def test_pass_whole_and_in_order(self):
        script = """python3 -c '
import hashlib, os, sys
hash = hashlib.sha256()
for i in range(3000):
    block = (b"%d" % i) * (i % 900)
    hash.update(block)
    while block:
        block = block[os.write(2, block):]
print(hash.hexdigest())'"""
        out, said = self.pass_through(script)
        said = said[: said.rindex(b"\nsluice: ")]  # which is on a line of its own
        self.assertEqual(hashlib.sha256(said).hexdigest(), out.decode().strip())

    def test_of_both_streams_in_one_pipe_stay_in_order(self):
        said, _ = self.pass_through(
            "for i in {1..2000}; do echo $i; echo $i >&2; done", stderr=subprocess.STDOUT)
        lines = [line for line in said.decode().splitlines() if not line.startswith("sluice: ")]
        self.assertEqual(lines, [str(i) for i in range(1, 2001) for _ in (0, 1)])

    def test_in_packets_pass_whole(self):
        """An agent's descriptor is a pipe of its own, which it may set up as it likes: O_DIRECT, pipe(2)."""
        script = """python3 -c '
import fcntl, os
fcntl.fcntl(2, fcntl.F_SETFL, os.O_DIRECT | os.O_WRONLY)
for i in range(5000): os.write(2, b"%d\\n" % i)'"""
        read_end, write_end = os.pipe()
        process = self.begin("bash", "-c", script + " & sleep 2; wait", stderr=write_end)
        os.close(write_end)
        subprocess.run(["sleep", "3"], check=True)  # so that both pipes fill
        self.addCleanup(os.close, read_end)
        said = b"".join(iter(lambda: os.read(read_end, 65536), b""))  # less would cut packets short
        lines = [line for line in said.decode().splitlines() if not line.startswith("sluice: ")]
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(lines, [str(i) for i in range(5000)])

    def test_go_to_a_named_pipe_as_well(self):
        path = f"{self.workspace}/fifo"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(path, "ab") as fifo:
            self.pass_through("echo said >&2; echo again >/dev/stderr", stderr=fifo)
        os.set_blocking(reader, True)
        with os.fdopen(reader) as file:
            said = file.read()
        self.assertIn("\nsaid\nagain\n", said)

    def test_end_where_their_reader_has_gone(self):
        """As without a sandbox: SIGPIPE."""
        read_end, write_end = os.pipe()
        process = self.begin("bash", "-c", "echo up >&2; yes >&2; echo $? >status", stderr=write_end)
        os.close(write_end)
        with os.fdopen(read_end, "rb", buffering=0) as file:
            said = b""
            while b"up\n" not in said:
                said += file.read(4096)
        process.wait(60)
        with open(f"{self.workspace}/status") as file:
            self.assertEqual(file.read(), "141\n")

    def test_that_nobody_reads_keep_no_agent_from_its_timeout(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        process = self.begin("bash", "-c", "yes >&2 & touch alive; wait", options=["--timeout", "5s"], stderr=write_end)
        os.close(write_end)
        self.wait_for_end_of_yes()
        with os.fdopen(os.dup(read_end), "rb") as file:
            said = file.read()
        self.assertEqual(process.wait(60), 124)
        self.assertIn("ended by its --timeout", said.decode())

    def test_that_an_agent_takes_back_are_waited_for_by_nobody(self):
        """It can open its pipe for reading; its caller reads nothing until it has."""
        script = """python3 -c '
import os, time
os.set_blocking(2, False)
def fill():
    try:
        while True: os.write(2, b"x" * 4096)
    except BlockingIOError: pass
for _ in range(10):
    fill()
    time.sleep(0.1)
pipe = os.open("/dev/stderr", os.O_RDONLY | os.O_NONBLOCK)
taken = 0
while not taken:  # somebody may read it meanwhile as well, as far as it is passed on
    fill()
    try:
        while True: taken += len(os.read(pipe, 65536))
    except BlockingIOError: pass
open("taken", "w").close()'"""
        read_end, write_end = os.pipe()
        process = self.begin("bash", "-c", script, stderr=write_end)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as file:
            self.wait_for(lambda: os.path.exists(f"{self.workspace}/taken"), "it is waited for")
            said = file.read()
        self.assertEqual(process.wait(60), 0)
        self.assertTrue(said.endswith(b"allowed 0, blocked 0\n"), said[-200:])

    def test_can_be_written_by_path(self):
        """/dev/stderr: the pipe is the agent's own, whoever the caller is."""
        _, said = self.pass_through("echo by path >/dev/stderr && echo and >/proc/self/fd/2")
        self.assertIn("by path\nand\n", said.decode())


# $1: the name of a host that is refused; sluice has been told so when it returns.
REFUSED = "refused() { curl -so /dev/null http://$1.test/; until grep -q $1.test /run/sluice/denials; do sleep 0.01; done; };"
# Sluice waits for the end of a line for two seconds: a try that took so long says nothing.
IN_TIME = "[ $((${EPOCHREALTIME/./} - began)) -lt 1900000 ]"


class Lines(StderrCase):
    """sluice's own stand between the agent's."""

    def test_wait_for_the_end_of_what_the_agent_writes_character_by_character(self):
        script = f"""{REFUSED}
            for try in {{1..15}}; do
                began=${{EPOCHREALTIME/./}}
                printf c >&2; refused of-try-$try
                for c in u r l : f a i l e d; do printf %s $c >&2; done; echo >&2
                if {IN_TIME}; then echo $try; break; fi
            done"""
        out, said = self.pass_through(script)
        self.assertRegex(said.decode(), rf"(?m)^curl:failed\nsluice: of-try-{int(out)}\.test:80 is not ")

    def test_come_though_the_agents_has_no_end(self):
        script = f"{REFUSED} printf 'Password: ' >&2; refused somebody; read -r"
        process = self.begin("bash", "-c", script, stdin=subprocess.PIPE)
        said = b""
        while b"somebody.test:80 is not " not in said:
            read = os.read(process.stderr.fileno(), 4096)
            self.assertTrue(read, said)
            said += read
        process.communicate(b"secret\n", timeout=60)
        self.assertRegex(said.decode(), r"(?m)^Password: \nsluice: somebody\.test:80 is not ")

    def test_stand_behind_the_beginning_of_one_however_late_both_are_read(self):
        script = f"{REFUSED} echo up; read -r; printf 'Password: ' >&2; refused somebody; echo asked; read -r"
        process = self.begin("bash", "-c", script, stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"up\n")
        (carrier,) = self.named("sluice-stderr")
        os.kill(carrier, signal.SIGSTOP)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"asked\n")
        os.kill(carrier, signal.SIGCONT)
        _, said = process.communicate(b"secret\n", timeout=60)
        self.assertRegex(said.decode(), r"(?m)^Password: \nsluice: somebody\.test:80 is not ")

    def test_at_the_end_begin_one(self):
        script = "printf unfinished >&2"
        _, said = self.pass_through(script)
        self.assertRegex(said.decode(), r"(?m)^unfinished\nsluice: coder-1: allowed 0")
        path = f"{self.workspace}/errors"
        with open(path, "w") as file:
            self.pass_through(script, stderr=file)
        with open(path) as file:
            self.assertRegex(file.read(), r"(?m)^unfinished\nsluice: coder-1: allowed 0")


# Has the mutex of its pipe as long as nothing comes from a terminal of its own. There is more in the
# pipe than its caller's takes before that reads.
HOLDS = """
import ctypes, fcntl, os, time
libc = ctypes.CDLL(None)
_, terminal = os.openpty()
fcntl.fcntl(2, 1031, 1 << 20)  # F_SETPIPE_SZ
if os.fork() == 0:
    while True:
        with open("alive", "a") as file: file.write("x")
        time.sleep(0.1)
os.write(2, b"x" * 200000)
libc.splice(terminal, None, 2, None, 4096, 0)
"""


class Pipes(StderrCase):
    """splice(2) sleeps with a pipe's mutex held, and who waits for that hears no SIGKILL."""

    def test_that_are_held_by_their_agent_keep_no_run_from_its_timeout(self):
        for options in ([], ["--quiet"]):
            with self.subTest(options=options):
                process = self.begin("python3", "-c", HOLDS, options=["--timeout", "10s", *options])
                self.wait_for_growth(f"{self.workspace}/alive")
                process.communicate(timeout=60)
                self.assertEqual(process.returncode, 124)
                os.unlink(f"{self.workspace}/alive")

    def test_that_are_full_keep_no_run_from_its_timeout_when_something_is_refused(self):
        """sluice has a line to say, and nobody reads."""
        script = "yes >&2 & touch alive; while :; do curl -s http://refused.test/; sleep 0.1; done"
        process = self.begin("bash", "-c", script, options=["--timeout", "5s"])
        self.wait_for_end_of_yes()
        out, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 124)
        self.assertIn("ended by its --timeout", said.decode())

    def test_that_stay_the_agents_own_keep_no_run_from_its_timeout_when_something_is_refused(self):
        """A socket for datagrams, full of the agent's: sluice's line waits for room as well."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(ours.close)
        script = "yes >&2 & touch alive; while :; do curl -s http://refused.test/; sleep 0.1; done"
        process = self.begin("bash", "-c", script, options=["--timeout", "5s"], stderr=theirs)
        theirs.close()
        self.wait_for_end_of_yes()
        said = b""
        while b"allowed 0, blocked" not in said:
            said += ours.recv(65536)
        self.assertEqual(process.wait(60), 124)
        self.assertIn(b"ended by its --timeout", said)

    def test_that_nobody_reads_keep_no_run_that_is_told_to_end(self):
        process = self.begin("bash", "-c", "head -c 300000 /dev/zero >&2 & sleep 1; echo up; kill %1; exit 5")
        self.assertEqual(process.stdout.readline(), b"up\n")
        end = time.monotonic() + 60
        while process.poll() is None:
            self.assertLess(time.monotonic(), end, "the run does not come to its end")
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
        self.assertIn(process.returncode, (5, 143))

    def test_that_are_held_by_their_agent_keep_nobody_from_killing_sluice(self):
        process = self.begin("python3", "-c", HOLDS)
        self.wait_for_growth(f"{self.workspace}/alive")
        os.set_blocking(process.stderr.fileno(), False)
        for _ in range(20):  # what there is: more may be held back
            process.stderr.read(65536)
            time.sleep(0.05)
        os.set_blocking(process.stderr.fileno(), True)
        process.kill()
        process.communicate(timeout=60)
        size = os.path.getsize(f"{self.workspace}/alive")
        subprocess.run(["sleep", "1"], check=True)
        self.assertEqual(os.path.getsize(f"{self.workspace}/alive"), size)

    def wait_for_growth(self, path):
        for _ in range(600):
            if os.path.exists(path) and os.path.getsize(path) > 5:
                return
            subprocess.run(["sleep", "0.1"], check=True)
        self.fail(f"{path} does not grow")


class Descriptors(StderrCase):
    def test_leave_nobody_to_whoever_adopts_orphans(self):
        """A container's first process may reap none."""
        libc = ctypes.CDLL(None)
        subreaper = 36  # PR_SET_CHILD_SUBREAPER
        libc.prctl(subreaper, 1, 0, 0, 0)
        self.addCleanup(libc.prctl, subreaper, 0, 0, 0, 0)
        self.pass_through("echo said >&2")
        self.assertEqual(self.named("sluice-stderr"), [])

    def test_are_carried_by_a_process_that_can_do_nothing_else(self):
        """It reads what an agent wrote, and its rights are the caller's."""
        process = self.begin("bash", "-c", "echo up; read -r", stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"up\n")
        (carrier,) = self.named("sluice-stderr")
        with open(f"/proc/{carrier}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        process.communicate(timeout=60)
        self.assertEqual((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"))

    def test_of_standard_output_is_the_callers_own(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        self.pass_through(WHICH, stdout=write_end)
        self.assertEqual(self.which()[1], inode(write_end))
        os.close(write_end)

    def test_of_standard_error_is_never_the_callers_own_pipe(self):
        """Whoever has that can make sluice wait: its lines go there, also those of a quiet run."""
        for options in ([], ["--quiet"]):
            with self.subTest(options=options):
                read_end, write_end = os.pipe()
                process = self.begin("bash", "-c", WHICH, options=options, stderr=write_end)
                passed = inode(write_end)
                os.close(write_end)
                os.fdopen(read_end, "rb").read()
                self.assertEqual(process.wait(60), 0)
                self.assertNotEqual(self.which()[2], passed)

    def test_that_are_one_socket_stay_one(self):
        """inetd's: what comes in and what goes out."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            passed = inode(theirs.fileno())
            process = self.begin("bash", "-c", WHICH, stdin=theirs, stdout=theirs, stderr=theirs)
            self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.which(), [passed] * 3)
