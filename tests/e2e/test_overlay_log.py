"""An overlay's programs are lines of the audit log, and its changes of mode are answered as before."""

import os
import signal
import stat
import time

import small_root
import world
from agent import is_root
from test_exec_log import ExecCase
from roots import OverlayCase


def fill_with_python(path):
    small_root.make(path)
    small_root.add_python(path)


class OverlayLogCase(ExecCase, OverlayCase):
    def logged_overlay(self, root, *command, options=(), **keywords):
        overlay = ["--root", root, "--root-mode", "overlay", *options]
        return self.logged(*command, options=overlay, **keywords)


class Both(OverlayLogCase):
    def test_each_program_has_its_line_in_an_overlay_too(self):
        script = "mkdir /srv; cd /srv; /bin/true a; env true b; bash -c 'exit 3'; exit 0"
        lines = self.logged_overlay(self.small(), "bash", "-c", script)
        self.assertNotIn("not logged", self.last.err)
        first = self.find(lines, "bash", "-c", script)
        self.assertEqual((first["cwd"], first["parent"]), (self.workspace, "sluice"))
        self.assert_status(first, 0)
        self.assertEqual(self.find(lines, "env", "true", "b")["cwd"], "/srv")
        self.assert_status(self.find(lines, "bash", "-c", "exit 3"), 3)
        said = [line["argv"][0] for line in lines]
        self.assertEqual(sorted(said), ["/bin/true", "bash", "bash", "env", "mkdir", "true"], lines)

    def test_a_program_in_a_directory_that_is_closed_to_its_owner_has_its_line(self):
        """The agent is root of its overlay and enters it; who looks from outside may not."""
        script = "mkdir -p /srv/d && cp /usr/bin/id /srv/d/hidden && chmod 0 /srv/d && /srv/d/hidden -u"
        lines = self.logged_overlay(self.small(), "bash", "-c", script)
        self.assertEqual(self.last.out, "0\n", self.last)
        self.find(lines, "/srv/d/hidden", "-u")

    def test_no_log_exec_ends_it_and_modes_are_answered_all_the_same(self):
        script = "cp /usr/bin/id id && chmod 4711 id && stat -c %a id"
        lines = self.logged_overlay(self.small(), "bash", "-c", script, options=["--no-log-exec"])
        self.assertEqual((lines, self.last.out), ([], "711\n"))

    def test_programs_and_changes_of_mode_at_once(self):
        """Both are held back by one filter; four processes do both as fast as they can."""
        script = """
            work() {
                for i in {1..50}; do
                    /bin/true $1 $i
                    touch $1.$i && chmod 4751 $1.$i || exit 1
                done
            }
            for w in a b c d; do work $w & done
            wait; stat -c %a a.* b.* c.* d.* | while read -r mode; do
                [ $mode = 751 ] || echo wrong $mode
            done"""
        lines = self.logged_overlay(self.small(), "bash", "-c", script)
        self.assertEqual((self.last.out, self.last.err.count("chmod:")), ("", 0), self.last)
        said = sorted(tuple(line["argv"][1:]) for line in lines if line["argv"][0] == "/bin/true")
        self.assertEqual(said, sorted((w, str(i)) for w in "abcd" for i in range(1, 51)))
        modes = [line["argv"] for line in lines if line["argv"][0] == "chmod"]
        self.assertEqual(len(modes), 200)
        left = [name for name in os.listdir(self.workspace) if name[0] in "abcd" and "." in name[:2]]
        self.assertEqual(len(left), 200)
        for name in left:
            mode = os.stat(f"{self.workspace}/{name}").st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o751, stat.filemode(mode))

    def test_a_program_that_is_started_after_chroot_has_its_line(self):
        """Its names lead elsewhere than the log's own look at the root does."""
        script = """
            mkdir /jail; for part in usr bin lib lib64; do cp -rP /$part /jail/; done
            ln -s /usr/bin/true /jail/only-there
            chroot /jail /usr/bin/true absolute; chroot /jail /only-there linked
            chroot /jail /usr/bin/bash -c 'cd usr; exec bin/true relative'"""
        lines = self.logged_overlay(self.small(), "bash", "-c", script)
        for word in ("absolute", "linked", "relative"):
            found = [line for line in lines if line["argv"][1:] == [word]]
            self.assertEqual(len(found), 1, f"{word}: {lines} {self.last}")

    def test_who_is_killed_in_the_middle_of_a_change_of_mode_holds_nobody_up(self):
        script = """
import os, random, signal, time
open('f', 'w').close()
for i in range(200):
    pid = os.fork()
    if pid == 0:
        while True: os.chmod('f', 0o4755)
    time.sleep(random.random() / 500)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
os.chmod('f', 0o4711)
os.execv('/usr/bin/stat', ['stat', '-c', '%a', 'f'])
"""
        for options in ((), ("--no-log-exec",)):
            with self.subTest(options):
                root = self.small_with_python()
                lines = self.logged_overlay(root, "python3", "-c", script, options=options)
                self.assertEqual(self.last.out, "711\n", self.last)
                self.assertEqual(len(lines), 0 if options else 2, lines)

    def small_with_python(self):
        path = f"{self.workspace}-root"
        return path if os.path.exists(path) else self.small("python", fill_with_python)

    def test_threads_and_members_of_many_groups_are_answered(self):
        script = """
import os, threading
if os.geteuid() == 0 and MANY: os.setgroups(range(5000))
open('f', 'w').close()
failed = []
def change():
    try:
        for i in range(50): os.chmod('f', 0o4755)
    except OSError as error: failed.append(error)
threads = [threading.Thread(target=change) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(failed, oct(os.stat('f').st_mode & 0o7777))
""".replace("MANY", str(is_root()))
        self.logged_overlay(self.small_with_python(), "python3", "-c", script)
        self.assertEqual(self.last.out, "[] 0o755\n", self.last)


class Ends(OverlayLogCase):
    def running(self):
        script = """
            mkfifo p; echo up; while /usr/bin/true && touch f && chmod 4755 f; do :; done
            echo refused; read line <p"""
        line = self.run_line("bash", "-c", script,
                             options=["--root", self.small(), "--root-mode", "overlay"])  # fmt: skip
        process = self.start(self.command(*line))
        self.assertEqual(process.stdout.readline(), b"up\n")
        return process

    def watcher(self):
        found = []
        for pid in world.processes():
            try:
                with open(f"/proc/{pid}/comm") as file:
                    found += [pid] if file.read() == "sluice-execs\n" else []
            except OSError:
                continue
        self.assertEqual(len(found), 1)
        return found[0]

    def test_when_the_log_dies_the_run_ends(self):
        process = self.running()
        os.kill(self.watcher(), signal.SIGKILL)
        run = self.finish(process)
        self.assertEqual(run.status, 125, run)
        self.assertIn("commands log", run.err)
        self.assert_nothing_runs()

    def test_when_the_log_dies_and_the_supervisor_sleeps_calls_are_refused_and_nothing_hangs(self):
        """Pid 1 has the listener as well: it closes it, and the kernel refuses what waited."""
        process = self.running()
        watcher = self.watcher()
        with open(f"/proc/{watcher}/status") as file:
            (supervisor,) = [int(line.split()[1]) for line in file if line.startswith("PPid:")]
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(watcher, signal.SIGKILL)
        self.assertEqual(process.stdout.readline(), b"refused\n")
        os.kill(supervisor, signal.SIGCONT)
        self.assertEqual(self.finish(process).status, 125)
        self.assert_nothing_runs()

    def test_when_the_supervisor_is_killed_everything_is_gone(self):
        process = self.running()
        started = set(world.processes()) - self._before
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        self.assert_nothing_runs(started)

    def assert_nothing_runs(self, started=None):
        end = time.monotonic() + 60
        while (started or set(world.processes()) - self._before) & set(world.processes()):
            self.assertLess(time.monotonic(), end, world.processes())
            time.sleep(0.05)
