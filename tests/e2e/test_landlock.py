"""Landlock beneath the mounts: what programs do every day still works, and what the mounts alone
would let an agent do is refused. Namespaces refuse most of it first: the tests named after Landlock
look at what only Landlock refuses."""

import ctypes
import errno
import os
import socket
import subprocess

import world
from agent import Case, as_ordinary, is_root

SYS_LANDLOCK_CREATE_RULESET = 444
VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
REFER, SCOPES = 2, 6  # the ABIs that brought them

MAKEFILE = "a: a.c\n\tmkdir -p o\n\tgcc -g a.c -o o/t\n\tmv o/t a\n"


def abi():
    return ctypes.CDLL(None).syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, VERSION)


class Daily(Case):
    def test_git_commits_moves_branches_packs_and_clones(self):
        run = self.shell(
            """
            export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com
            export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
            set -e
            git init -q repo; cd repo; mkdir one two
            echo text > one/file; git add .; git commit -qm first
            git mv one/file two/moved; git commit -qm second
            git checkout -qb other; git stash list; git gc -q
            git worktree add -q ../tree HEAD~1; cat ../tree/one/file
            git clone -q . ../copy; git clone -q . /tmp/copy; git -C /tmp/copy log --oneline | wc -l
            """
        )
        self.assertEqual(run.out.split(), ["text", "2"], run)

    def test_python_makes_temporary_files_semaphores_databases_and_terminals(self):
        script = """
import multiprocessing, os, pty, shutil, socket, sqlite3, tempfile
with tempfile.TemporaryDirectory() as folder:
    socket.socket(socket.AF_UNIX).bind(folder + "/socket")
    os.rename(folder + "/socket", folder + "/moved")
with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
    file.write(b"text"); file.flush(); file.truncate(1)
with multiprocessing.Pool(2) as pool:
    print(sum(pool.map(abs, [-1, -2])), flush=True)
sqlite3.connect("database").execute("create table t (a)").connection.close()
os.mkdir("tree"); shutil.copytree("inside", "tree/copy"); shutil.move("tree/copy", "/tmp/copy")
shutil.move("/tmp/copy", "back"); shutil.rmtree("tree")
print(os.waitstatus_to_exitcode(pty.spawn(["sh", "-c", "echo pty > /dev/tty"])))
"""
        run = self.run_agent(world.PYTHON, "-c", script)
        self.assertEqual(run.out.split(), ["3", "pty", "0"], run)

    def test_make_and_a_compiler_build_and_debuggers_look_at_what_they_built(self):
        self.write(f"{self.workspace}/Makefile", MAKEFILE)
        self.write(f"{self.workspace}/a.c", "int main() { return 0; }\n")
        run = self.shell(
            """
            make -s -j2 && ./a && cp a /tmp/a && /tmp/a && echo built
            strace -f -o trace ./a && test -s trace && echo traced
            if command -v gdb > /dev/null; then
              gdb -q -batch -ex 'break main' -ex run -ex 'print 40 + 2' ./a 2>&1 | grep -o '= 42'
            else echo = 42; fi
            """
        )
        self.assertEqual(run.out.split(), ["built", "traced", "=", "42"], run)

    def test_a_program_writes_about_itself_to_proc_and_to_devices(self):
        run = self.shell(
            """
            set -e
            echo 500 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj
            printf named > /proc/$$/comm; cat /proc/$$/comm
            echo text | tee /dev/null /dev/stderr 2> /dev/null
            echo lost 2> /dev/null > /dev/full || true
            exec 3> mine; echo one >&3; echo two >> /proc/self/fd/3; cat mine
            test -t 0 < /dev/null || echo no terminal; head -c 1 /dev/urandom | wc -c
            """
        )
        lines = ["500", "named", "text", "one", "two", "no terminal", "1"]
        self.assertEqual(run.out.splitlines(), lines, run)

    def test_memory_queues_and_files_without_a_name_are_shared_and_opened_again(self):
        script = """
import ctypes, os, subprocess
libc = ctypes.CDLL(None, use_errno=True)
queue = libc.mq_open(b"/queue", os.O_CREAT | os.O_RDWR, 0o600, None)
print(queue >= 0, libc.mq_unlink(b"/queue"))
print(libc.shmget(0, 4096, 0o1600) >= 0)
program = os.memfd_create("program", 0)
os.write(program, open("/bin/true", "rb").read())
print(subprocess.call([f"/proc/self/fd/{program}"], pass_fds=[program]))
nameless = os.open(".", os.O_TMPFILE | os.O_RDWR)
print(libc.linkat(-100, b"/proc/self/fd/%d" % nameless, -100, b"named", 0x400))
gone = os.open("gone", os.O_CREAT | os.O_RDWR)
os.unlink("gone")
print(os.open(f"/proc/self/fd/{gone}", os.O_RDWR) >= 0)
"""
        run = self.run_agent(world.PYTHON, "-c", script)
        self.assertEqual(run.out.split(), ["True", "0", "True", "0", "0", "True"], run)

    def test_node_writes_and_moves_files(self):
        script = """
            if command -v node > /dev/null; then node -e '
              const fs = require("fs"), { execSync } = require("child_process");
              fs.mkdirSync("n/m", { recursive: true }); fs.writeFileSync("n/f", "text");
              fs.renameSync("n/f", "n/m/f"); fs.copyFileSync("n/m/f", "/tmp/f");
              process.kill(process.pid, 0); execSync("sleep 0");
              console.log(fs.readFileSync("/tmp/f", "utf8"))'
            else echo text; fi
            """
        self.assertEqual(self.shell(script).out, "text\n")

    def test_jobs_are_ended_by_the_shell_that_started_them(self):
        run = self.shell("sleep 60 & kill %1; wait %1; echo $?; timeout 0.1 sleep 60; echo $?")
        self.assertEqual(run.out.split(), ["143", "124"], run)


class Outside(Case):
    def test_nothing_is_written_linked_or_moved_out_of_the_workspace(self):
        outside = f"{self.workspace}-rw"
        os.makedirs(outside)
        self.own(outside)
        self.write(f"{outside}/old", "text")
        script = f"""
import errno, os
def tell(call, *arguments):
    try: call(*arguments); print("worked")
    except OSError as error: print(errno.errorcode[error.errno])
open("file", "w").close()
tell(open, "/etc/x", "w"); tell(open, "/etc/passwd", "w"); tell(os.mkdir, "/usr/x")
tell(os.rename, "file", "/etc/x"); tell(os.link, "file", "/etc/x"); tell(os.unlink, "/etc/passwd")
tell(os.link, "/etc/hostname", "linked")
tell(os.rename, "file", "/srv/x"); tell(os.link, "file", "/srv/x"); tell(os.rename, "/srv/old", "x")
os.mkdir("a"); tell(os.rename, "file", "a/file"); tell(os.link, "a/file", "file")
"""
        options = ["--bind", f"{outside}:/srv:rw"]
        run = self.run_agent(world.PYTHON, "-c", script, options=options)
        told = run.out.split()
        for answer in told[:7]:
            self.assertIn(answer, ("EROFS", "EXDEV", "EACCES"), run)
        for answer in told[7:10]:
            self.assertIn(answer, ("EXDEV", "EACCES"), run)
        self.assertEqual(told[10:], ["worked", "worked"], run)
        self.assertEqual(os.listdir(outside), ["old"])

    def test_no_process_outside_is_signalled_and_no_abstract_socket_reached(self):
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind("\0of-the-machine")
        server.listen()
        sleeper = subprocess.Popen(as_ordinary("sleep", "600"))
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        script = """
import errno, os, signal, socket, sys
for call in (lambda: socket.socket(socket.AF_UNIX).connect("\\0of-the-machine"),
             lambda: os.kill(int(sys.argv[1]), signal.SIGTERM)):
    try: call(); print("worked")
    except OSError as error: print(errno.errorcode[error.errno])
"""
        run = self.run_agent(world.PYTHON, "-c", script, str(sleeper.pid))
        connecting, killing = run.out.split()
        self.assertIn(connecting, ("ECONNREFUSED", "EPERM"))
        self.assertIn(killing, ("ESRCH", "EPERM"))
        self.assertIsNone(sleeper.poll())


class ByLandlock(Case):
    """What no mount and no namespace refuses."""

    def run_with(self, script, **redirected):
        command = self.command(*self.run_line("bash", "-c", script))
        process = subprocess.Popen(command, cwd=self.workspace, env=self.environment,
                                   start_new_session=True, **redirected)  # fmt: skip
        self.assertEqual(process.wait(60), 0)

    def private_file(self):
        """One of the caller's that anybody may write who finds it, and no place of the agent's."""
        path = self.write(f"/home/notes-{os.path.basename(self.workspace)}", "of the person\n")
        os.chmod(path, 0o666)
        self.addCleanup(os.unlink, path)
        return path

    def test_what_stdin_is_read_from_is_not_written_to(self):
        if abi() < REFER:
            self.skipTest("this kernel has no Landlock")
        path = self.private_file()
        with open(path) as notes:
            self.run_with("cat /dev/stdin > got; ! echo mine 2> told >> /dev/stdin", stdin=notes)
        with open(path) as notes, open(f"{self.workspace}/got") as got:
            self.assertEqual(notes.read(), "of the person\n")
            self.assertEqual(got.read(), "of the person\n")
        with open(f"{self.workspace}/told") as told:
            self.assertIn("/dev/stdin: Permission denied", told.read())

    def test_what_stdout_is_redirected_to_is_opened_again_by_its_name_in_dev(self):
        path = self.private_file()
        with open(path, "a") as notes:
            self.run_with("echo one >> /dev/stdout; echo two >> /dev/stderr; echo three",
                          stdin=subprocess.DEVNULL, stdout=notes, stderr=notes)  # fmt: skip
        with open(path) as notes:
            said = notes.read()
        self.assertTrue(said.startswith("of the person\none\ntwo\nthree\n"), said)

    def test_the_first_process_of_the_sandbox_is_not_signalled(self):
        if abi() < SCOPES:
            self.skipTest("this kernel's Landlock scopes nothing")
        run = self.shell("kill -0 1 2>&1; kill -0 $$ && echo itself")
        self.assertIn("Operation not permitted", run.out)
        self.assertIn("itself", run.out)

    def test_a_process_beneath_the_agent_may_restrict_itself_further(self):
        if abi() < REFER:
            self.skipTest("this kernel has no Landlock")
        script = f"""
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
ruleset = libc.syscall({SYS_LANDLOCK_CREATE_RULESET}, struct.pack("Q", 2), 8, 0)
assert ruleset >= 0 and libc.syscall(446, ruleset, 0) == 0, ctypes.get_errno()
try: open("file", "w")
except PermissionError: print("restricted")
"""
        self.assertEqual(self.run_agent(world.PYTHON, "-c", script).out, "restricted\n")


class WithoutLandlock(Case):
    """A kernel that has none: the run goes on behind the mounts."""

    answer = errno.ENOSYS

    def command(self, *arguments):
        lacking = (
            f"import os, sys; sys.path.insert(0, '{world.TESTS}'); import kernel_lacks as kernel; "
            f"kernel.load(kernel.refuse([], {self.answer}, call={SYS_LANDLOCK_CREATE_RULESET})); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        line = [world.PYTHON, "-B", "-c", lacking, f"{world.BIN}/sluice", *arguments]
        return line if is_root() else as_ordinary(*line)

    def test_the_workspace_is_writable_and_the_machine_is_not(self):
        run = self.shell("echo text > file; ! touch /etc/x; kill -0 1 && echo not scoped")
        self.assertIn("Read-only file system", run.err, run)
        self.assertEqual(run.out, "not scoped\n", run)


class DisabledAtBoot(WithoutLandlock):
    answer = errno.EOPNOTSUPP
