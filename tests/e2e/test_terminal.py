"""An agent on a terminal gets one of its own; the person's is never in its hands."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from agent import Case
from test_stderr import IN_TIME, REFUSED

# Writes until nobody takes it for two seconds, and says so.
FILLS = """
import os, select
alive = open("alive", "w")
os.set_blocking(1, False)
while select.select([], [1], [], 2)[1]:
    try:
        os.write(1, b"x" * 1000)
    except BlockingIOError:
        pass
print("full", file=alive, flush=True)
os.set_blocking(1, True)
os.write(1, b"x" * 100000)
"""


class OnATerminal(Case):
    def open_terminal(self, rows=33, columns=99):
        """The person's terminal: its master side, and a way to become its session's leader."""
        master, slave = pty.openpty()
        self.resize(master, rows, columns)
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        return master, slave

    def resize(self, master, rows, columns):
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def start_on(self, slave, *command, stdout=None, options=()):
        def lead():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            self.command(*self.run_line(*command, options=options)), cwd=self.workspace,
            env=self.environment, stdin=slave, stdout=slave if stdout is None else stdout,
            stderr=slave, preexec_fn=lead,
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def read_until(self, master, text, seconds=60):
        said = b""
        end = time.monotonic() + seconds
        while text.encode() not in said:
            ready = select.select([master], [], [], max(0, end - time.monotonic()))[0]
            self.assertTrue(ready, f"{text!r} never came: {said!r}")
            said += os.read(master, 4096)
        return said.decode(errors="replace")

    def make_alive(self):
        """A FIFO that has a writer for as long as the agent lives that opened it."""
        path = f"{self.workspace}/alive"
        os.mkfifo(path)
        os.chmod(path, 0o666)
        alive = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, alive)
        return alive

    def wait_for_event(self, fd, event):
        poll = select.poll()
        poll.register(fd, event)
        self.assertTrue(poll.poll(60_000), "an agent that nobody reads lives on")


class Terminal(OnATerminal):
    def test_the_agent_has_a_terminal_of_its_own_and_of_the_same_size(self):
        master, slave = self.open_terminal()
        process = self.start_on(slave, "bash", "-c", "test -t 0 && tty; stty size; echo done")
        said = self.read_until(master, "done")
        self.assertIn("/dev/pts/", said)
        self.assertIn("33 99", said)
        self.assertEqual(process.wait(60), 0)

    def test_a_resize_reaches_the_agent_and_control_c_interrupts_it(self):
        master, slave = self.open_terminal()
        script = """
            trap 'stty size' WINCH
            trap 'echo interrupted; exit 9' INT
            echo ready
            while :; do sleep 0.1; done
            """
        process = self.start_on(slave, "bash", "-c", script)
        self.read_until(master, "ready")
        self.resize(master, 44, 111)
        self.read_until(master, "44 111")
        os.write(master, b"\x03")
        self.read_until(master, "interrupted")
        self.assertEqual(process.wait(60), 9)

    def test_the_terminal_is_as_it_was_after_every_end(self):
        cases = {"exit 0": 0, "kill -KILL $$": 137, "stty raw -echo; exit 3": 3}
        for script, status in cases.items():
            with self.subTest(script):
                master, slave = self.open_terminal()
                before = termios.tcgetattr(slave)
                process = self.start_on(slave, "bash", "-c", script)
                self.assertEqual(process.wait(60), status)
                self.assertEqual(termios.tcgetattr(slave), before)

    def said_at_the_end(self, script, status, stdout=None, **keywords):
        """What a run on a terminal says; `stdout` is where that goes instead."""
        master, slave = self.open_terminal()
        process = self.start_on(slave, "bash", "-c", script, stdout=stdout, **keywords)
        said = self.read_until(master, "allowed 0, blocked 0" if status else "done")
        self.assertEqual(process.wait(60), status, said)
        return said

    def test_the_paths_that_programs_found_read_only_are_named_when_the_run_fails(self):
        script = """
            touch /etc/of-touch; mkdir "/usr/a b"; echo x >/opt/of-the-shell
            python3 -c 'open("/etc/of-python", "w")'
            node -e 'require("fs").writeFileSync("/usr/of-node", "x")'
            exit 3
            """
        said = self.said_at_the_end(script, 3)
        end = said[said.index("sluice: it failed") :]
        self.assertIn('its programs said "Read-only file system" of', end)
        for path in ("'/etc/of-touch'", "'/usr/a b'", "'/opt/of-the-shell'", "'/etc/of-python'",
                     "and '/usr/of-node'"):  # fmt: skip
            self.assertIn(path, end)
        self.assertIn("--tmpfs PATH or --seed PATH allows that, and --learn-writes names", end)

    def test_what_a_run_that_succeeds_or_is_quiet_or_fails_otherwise_printed_is_not_told_again(self):
        words = "its programs said"
        self.assertNotIn(words, self.said_at_the_end("touch /etc/x; echo done", 0))
        said = self.said_at_the_end("echo 'read only'; exit 1", 1)
        self.assertNotIn(words, said)
        self.assertNotIn("--learn-writes", said)
        master, slave = self.open_terminal()
        process = self.start_on(slave, "bash", "-c", "touch /etc/x; exit 1", options=["--quiet"])
        said = self.read_until(master, "Read-only file system")
        self.assertEqual(process.wait(60), 1)
        while select.select([master], [], [], 0)[0]:
            said += os.read(master, 4096).decode(errors="replace")
        self.assertNotIn(words, said)

    def test_lines_of_sluice_stand_between_those_of_the_agent(self):
        master, slave = self.open_terminal()
        script = f"""{REFUSED}
            for try in {{1..15}}; do
                began=${{EPOCHREALTIME/./}}
                printf c; refused of-try-$try; printf 'url failed\\n'
                {IN_TIME} && break
            done
            echo "try $try counts"
            printf 'Password: '; refused of-a-prompt; read -r
            """
        process = self.start_on(slave, "bash", "-c", script)
        said = self.read_until(master, "of-a-prompt.test:80 is not ")
        counts = re.search(r"try (\d+) counts", said)[1]
        self.assertIn(f"curl failed\r\nsluice: of-try-{counts}.test:80 is not ", said)
        self.assertIn("Password: \r\nsluice: of-a-prompt.test:80 is not ", said)
        os.write(master, b"\r")
        self.assertEqual(process.wait(60), 0)

    def start_unread(self, slave, *options):
        """An agent whose terminal takes no more, and a FIFO that has a writer while it lives."""
        alive = self.make_alive()
        process = self.start_on(slave, "python3", "-c", FILLS, options=options)
        self.wait_for_event(alive, select.POLLIN)
        os.read(alive, 5)
        return process, alive

    def test_a_terminal_that_nobody_reads_keeps_no_run_from_its_timeout(self):
        """As that of a connection that hangs."""
        master, slave = self.open_terminal()
        process, alive = self.start_unread(slave, "--timeout", "5s")
        self.wait_for_event(alive, select.POLLHUP)
        self.read_until(master, "ended by its --timeout\r\n")
        self.assertEqual(process.wait(60), 124)

    def test_a_terminal_that_nobody_reads_keeps_nobody_from_ending_sluice(self):
        master, slave = self.open_terminal()
        before = termios.tcgetattr(slave)
        process, alive = self.start_unread(slave)
        process.send_signal(signal.SIGTERM)
        self.wait_for_event(alive, select.POLLHUP)
        end = time.monotonic() + 60
        while process.poll() is None:  # it waits for who reads until it is told again
            self.assertLess(time.monotonic(), end, "the run does not come to its end")
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
        self.assertEqual(process.returncode, 143)
        self.assertEqual(termios.tcgetattr(slave), before)

    def test_what_comes_faster_than_the_terminal_is_read_comes_whole(self):
        master, slave = self.open_terminal()
        process = self.start_on(slave, "bash", "-c", "seq 1 30000; exit 5")
        said = self.read_until(master, "allowed 0, blocked 0")
        self.assertEqual(process.wait(60), 5)
        lines = [line for line in said.split("\r\n") if line.isdigit()]
        self.assertEqual(lines, [str(number) for number in range(1, 30001)])

    def test_what_programs_say_is_theirs_and_cannot_steer_the_terminal_at_the_end(self):
        said = self.said_at_the_end(
            r"""printf "open '/\302\23331m\342\200\256x': read-only file system\n"; exit 1""", 1)
        end = said[said.index("sluice: it failed") :]
        self.assertIn(r"'/\u{9b}31m\u{202e}x'", end)
        self.assertIn("(their words)", end)

    def test_a_pipe_that_the_caller_passed_is_not_read_by_anybody_else(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        said = self.said_at_the_end(
            "echo \"open '/of-the-pipe': read-only file system\"; exit 1", 1, stdout=write_end)
        os.close(write_end)
        self.assertEqual(os.read(read_end, 4096),
                         b"open '/of-the-pipe': read-only file system\n")
        self.assertNotIn("of-the-pipe", said)

    def test_the_agent_cannot_type_into_the_persons_terminal(self):
        """TIOCSTI on whatever it can open: what it injects never becomes the shell's input."""
        master, slave = self.open_terminal()
        script = (
            "import fcntl, glob, os\n"
            "for path in ['/dev/tty', *glob.glob('/dev/pts/*')] + [0, 1, 2]:\n"
            "    try:\n"
            "        fd = os.open(path, os.O_RDWR) if isinstance(path, str) else path\n"
            "        fcntl.ioctl(fd, 0x5412, b'X')\n"
            "        print('typed', path)\n"
            "    except OSError: pass\n"
            "print('done')"
        )
        process = self.start_on(slave, "python3", "-c", script)
        said = self.read_until(master, "done")
        process.wait(60)
        self.assertNotIn("typed", said)
        os.set_blocking(slave, False)
        with self.assertRaises(BlockingIOError):
            os.read(slave, 10)


class Chosen(OnATerminal):
    """--tty: a terminal where the caller has none, and none where he has one."""

    def begin(self, *command, tty, **streams):
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        line = self.command(*self.run_line(*command, options=["--tty", tty]))
        process = subprocess.Popen(line, cwd=self.workspace, env=self.environment, **streams)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_no_takes_the_terminal_away(self):
        master, slave = self.open_terminal()
        script = """
            for fd in 0 1 2; do test -t $fd && echo "$fd is a terminal"; done
            cat; echo one; echo two >&2; seq 1 20000; (: </dev/tty) || echo none; exit 5
            """
        process = self.start_on(slave, "bash", "-c", script, options=["--tty", "no"])
        said = self.read_until(master, "allowed 0, blocked 0")
        self.assertEqual(process.wait(60), 5)
        self.assertNotIn("is a terminal", said)
        self.assertIn("one\r\ntwo\r\n1\r\n2\r\n", said)
        self.assertIn("\r\n19999\r\n20000\r\n", said)
        self.assertIn("none\r\n", said)

    def test_no_passes_control_c_on(self):
        master, slave = self.open_terminal()
        script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.1; done"
        process = self.start_on(slave, "bash", "-c", script, options=["--tty", "no"])
        self.read_until(master, "ready")
        os.write(master, b"\x03")
        self.read_until(master, "interrupted")
        self.assertEqual(process.wait(60), 9)

    def test_yes_gives_one_and_ends_its_input_where_the_callers_ends(self):
        script = """
            for fd in 0 1 2; do test -t $fd || echo "$fd is no terminal"; done
            stty size; stty -echo; read -r line; echo "got $line"; cat >/dev/null; echo end; exit 5
            """
        process = self.begin("bash", "-c", script, tty="yes")
        out, err = process.communicate(b"a line\nand more\n", timeout=120)
        self.assertEqual((process.returncode, err), (5, b""), out)
        said = out.decode()
        self.assertNotIn("is no terminal", said)
        self.assertIn("24 80\r\n", said)
        self.assertIn("got a line\r\nend\r\n", said)
        self.assertTrue(said.rstrip().endswith("allowed 0, blocked 0"), said)

    def test_yes_changes_nothing_where_there_is_one(self):
        master, slave = self.open_terminal()
        process = self.start_on(slave, "bash", "-c", "stty size; tty; exit 5", options=["--tty", "yes"])
        self.assertIn("33 99\r\n/dev/pts/", self.read_until(master, "allowed 0, blocked 0"))
        self.assertEqual(process.wait(60), 5)

    def test_what_the_caller_reads_elsewhere_goes_there(self):
        """A terminal for the input alone: it is raw meanwhile, and as it was at the end."""
        master, slave = self.open_terminal()
        before = termios.tcgetattr(slave)
        read_end, write_end = os.pipe()
        process = self.start_on(slave, "bash", "-c", "stty size; read -r line; echo got $line",
                                stdout=write_end, options=["--tty", "yes"])  # fmt: skip
        os.close(write_end)
        os.write(master, b"typed\r")
        with os.fdopen(read_end, "rb") as file:
            said = file.read().decode()
        self.assertEqual(process.wait(60), 0)
        self.assertIn("33 99\r\n", said)
        self.assertIn("got typed\r\n", said)
        self.assertEqual(termios.tcgetattr(slave), before)

    def test_a_signal_or_kill_9_of_who_stands_before_the_run_ends_it(self):
        script = "exec 9>alive; echo up >&9; while :; do sleep 0.1; done"
        for number, status in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            with self.subTest(number):
                alive = self.make_alive()
                process = self.begin("bash", "-c", script, tty="yes", stdin=subprocess.DEVNULL)
                self.wait_for_event(alive, select.POLLIN)
                self.assertEqual(os.read(alive, 10), b"up\n")
                process.send_signal(number)
                self.wait_for_event(alive, select.POLLHUP)
                self.assertEqual(process.wait(60), status)
                os.unlink(f"{self.workspace}/alive")
