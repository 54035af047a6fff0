"""`--seccomp FILE`: a profile in the format of container engines, on top of sluice's own list."""

import errno
import json
import os

import world
from agent import Case

PROFILE = f"{world.TESTS}/data/profile.json"
CALL = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
for words in sys.argv[1:]:
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(int(word)) for word in words.split(",")])
    print(ctypes.get_errno() if result < 0 else "ok")
"""
GETCPU = {"x86_64": 309, "aarch64": 168}[os.uname().machine]
PERSONALITY = {"x86_64": 135, "aarch64": 92}[os.uname().machine]
CLONE3 = 435
SYSINFO = {"x86_64": 99, "aarch64": 179}[os.uname().machine]


def allow(**more):
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [], **more}


def refuse(*names, action="SCMP_ACT_ERRNO", **more):
    return {"names": list(names), "action": action, **more}


class SeccompFile(Case):
    def profile(self, content):
        text = content if isinstance(content, str) else json.dumps(content)
        return self.write(f"{os.path.dirname(self.policy_file)}/profile.json", text)

    def calls(self, content, *calls, **keywords):
        """What each system call ("NUMBER,ARGUMENT…") answers under the profile: "ok" or an errno."""
        options = ["--seccomp", self.profile(content)]
        run = self.run_agent(world.PYTHON, "-c", CALL, *calls, options=options, **keywords)
        return run, run.out.split()

    def assert_refused(self, content, *words):
        options = ["--seccomp", self.profile(content)]
        run = self.run_agent("touch", "started", options=options, status=125)
        self.assertFalse(os.path.exists(f"{self.workspace}/started"), run)
        for word in words:
            self.assertIn(word, run.err, run)
        return run

    def test_everyday_programs_work_under_a_profile_that_refuses_by_default(self):
        run = self.shell(
            """
            export HOME=$PWD
            git init -q repo && cd repo && echo text > f && git add f
            git -c user.name=a -c user.email=a@example.com commit -qm first
            git log --oneline | wc -l
            python3 -c 'import threading; threading.Thread(target=print, args=("thread",)).start()'
            echo 'int main() { return 0; }' > a.c && gcc a.c -o a && ./a && echo compiled
            if command -v node >/dev/null; then node -e 'console.log("node")'; else echo node; fi
            """,
            options=["--seccomp", PROFILE],
        )
        for word in ("1", "thread", "compiled", "node"):
            self.assertIn(word, run.out.split(), run)

    def test_what_the_profile_refuses_is_refused_and_works_without_it(self):
        names = [f"{PERSONALITY},0", f"{PERSONALITY},{0x40000}", f"{PERSONALITY},{0x20000}"]
        command = [world.PYTHON, "-c", CALL, *names]
        self.assertEqual(self.run_agent(*command).out.split(), ["ok", "ok", "ok"])
        run = self.run_agent(*command, options=["--seccomp", PROFILE])
        self.assertEqual(run.out.split(), ["ok", "ok", str(errno.EPERM)], run)
        strace = ["strace", "-o", "/dev/null", "true"]
        self.run_agent(*strace)
        self.assertNotEqual(self.run_agent(*strace, status=None,
                                           options=["--seccomp", PROFILE]).status, 0)  # fmt: skip

    def test_a_profile_that_allows_everything_loosens_nothing(self):
        plain = self.probe("syscalls")
        names = ["mount", "bpf", "keyctl", "unshare", "setns", "perf_event_open", "io_uring_setup",
                 "clone3", "socket", "ioctl", "ptrace"]  # fmt: skip
        profile = allow(defaultAction="SCMP_ACT_LOG",
                        syscalls=[refuse(*names, action="SCMP_ACT_ALLOW")])  # fmt: skip
        path = self.profile(profile)
        self.assertEqual(self.probe("syscalls", options=["--seccomp", path]), plain)

    def test_errors_are_those_of_the_entry_or_else_eperm(self):
        profile = allow(syscalls=[refuse("getcpu", errnoRet=28), refuse("sysinfo")])
        run, answers = self.calls(profile, f"{GETCPU},0,0,0", f"{SYSINFO},0")
        self.assertEqual(answers, [str(errno.ENOSPC), str(errno.EPERM)], run)

    def test_newer_calls_answer_enosys_whatever_the_default_is(self):
        with open(PROFILE) as file:
            profile = json.load(file)
        for action in ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"):
            with self.subTest(action):
                profile["defaultAction"] = action
                profile.pop("defaultErrnoRet", None)
                if action == "SCMP_ACT_ERRNO":
                    profile["defaultErrnoRet"] = errno.EACCES
                run, answers = self.calls(profile, "1000", f"{CLONE3},0,0")
                self.assertEqual(answers, [str(errno.ENOSYS)] * 2, run)

    def test_kill_and_trap_end_the_agent_with_sigsys(self):
        for action in ("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"):
            with self.subTest(action):
                profile = allow(syscalls=[refuse("getcpu", action=action)])
                self.calls(profile, f"{GETCPU},0,0,0", status=128 + 31)

    def test_conditions_of_an_entry_hold_together_and_entries_hold_each(self):
        def compare(index, value, op="EQ", second=None):
            more = {} if second is None else {"valueTwo": second}
            return {"index": index, "value": value, "op": f"SCMP_CMP_{op}", **more}

        entries = [
            refuse("getcpu", errnoRet=11, args=[compare(0, 0), compare(1, 0)]),
            refuse("getcpu", errnoRet=11, args=[compare(2, 0xF0, "MASKED_EQ", 0x10)]),
            refuse("sysinfo", errnoRet=12, args=[compare(0, 1 << 33, "GE")]),
        ]
        run, answers = self.calls(
            allow(syscalls=entries),
            f"{GETCPU},0,0,0", f"{GETCPU},0,1,0", f"{GETCPU},0,1,{0x1F}", f"{GETCPU},0,1,{0x2F}",
            f"{SYSINFO},{1 << 33}", f"{SYSINFO},{(1 << 33) - 1}",
        )  # fmt: skip
        fault = str(errno.EFAULT)
        self.assertEqual(answers, ["11", fault, "11", fault, "12", fault], run)

    def test_entries_that_exclude_this_machine_or_want_more_of_it_are_left_out(self):
        entries = [
            refuse("getcpu", excludes={"minKernel": "3.0"}),
            refuse("getcpu", includes={"minKernel": "99.0"}),
            refuse("getcpu", includes={"caps": ["CAP_SYS_ADMIN"]}),
            refuse("getcpu", includes={"arches": ["s390x"]}),
            refuse("getcpu", excludes={"arches": ["amd64", "arm64"]}),
            refuse("sysinfo", includes={"minKernel": "3.0", "arches": ["amd64", "arm64"]},
                   excludes={"caps": ["CAP_SYS_ADMIN"], "arches": ["s390x"], "minKernel": "99.1"}),
        ]  # fmt: skip
        run, answers = self.calls(allow(syscalls=entries), f"{GETCPU},0,0,0", f"{SYSINFO},0")
        self.assertEqual(answers, ["ok", str(errno.EPERM)], run)

    def test_names_that_are_not_known_are_said(self):
        entries = [refuse("getcpu", "from_the_future", "\x1b[31m"), refuse("socketcall", "stat64")]
        run, answers = self.calls(allow(syscalls=entries), f"{GETCPU},0,0,0")
        self.assertEqual(answers, [str(errno.EPERM)], run)
        self.assertIn("2 system calls that are not known here: '\\x1b[31m', 'from_the_future'\n", run.err, run)
        self.assertNotIn("\x1b", run.err)
        self.assertNotIn("stat64", run.err)

    def test_a_profile_under_which_no_command_can_start_is_refused_before_anything_starts(self):
        for action in ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"):
            self.assert_refused({"defaultAction": action}, "refuses execve", "hint: ")
            self.assert_refused(allow(syscalls=[refuse("execve", action=action)]), "execve")

    def test_a_damaged_profile_is_refused_with_its_place(self):
        for text, *words in (
            ("", "profile.json:1:1: error: "),
            ("{", "profile.json:1:", "error: "),
            ("[]", "profile.json:1:1: error: ", "an object"),
            ('{\n  "defaultAction": "SCMP_ACT_ALLOW",\n  "syscals": []\n}',
             "profile.json:3:3: error: ", "'syscals'", "did you mean 'syscalls'?"),
            ('{"defaultAction": "SCMP_ACT_ALLOW",\n "defaultAction": "SCMP_ACT_ALLOW"}',
             "profile.json:2:2: error: ", "'defaultAction'", "twice"),
            ('{"syscalls": []}', "defaultAction"),
            ('{"defaultAction": "ALLOW"}', "profile.json:1:19: error: ", "'ALLOW'"),
            ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "SCMP_ACT_NOTIFY"),
            ('{"defaultAction": "SCMP_ACT_TRACE"}', "SCMP_ACT_TRACE"),
            ('{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}', "'flags'"),
            ('{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}', "'listenerPath'"),
            (json.dumps(allow(architectures=["SCMP_ARCH_X86_64"], archMap=[])), "'archMap'"),
            (json.dumps(allow(syscalls=[refuse("getcpu", errnoRet=70000)])), "70000"),
            (json.dumps(allow(syscalls=[refuse("getcpu", args=[{"index": 6, "value": 0,
                                                                "op": "SCMP_CMP_EQ"}])])), "6"),
        ):  # fmt: skip
            with self.subTest(text):
                self.assert_refused(text, *words)

    def test_a_file_that_is_no_file(self):
        fifo = f"{os.path.dirname(self.policy_file)}/fifo"
        os.mkfifo(fifo)
        self.own(fifo)
        for path in ("/does/not/exist", "/dev/zero", self.home, fifo):
            run = self.run_agent("true", options=["--seccomp", path], status=125)
            self.assertIn(path, run.err, run)

    def test_a_profile_that_the_agent_could_rewrite_is_refused(self):
        path = self.write(f"{self.workspace}/profile.json", json.dumps(allow()))
        run = self.run_agent("true", options=["--seccomp", path], status=125)
        self.assertIn("the seccomp profile", run.err, run)
        self.assertIn("lies where the agent can write", run.err, run)

    def test_a_dry_run_reads_the_profile_and_says_so(self):
        run = self.run_agent("true", options=["--seccomp", PROFILE, "--dry-run"])
        self.assertIn(f"and the profile {PROFILE}", run.out, run)
        path = self.profile("{")
        self.run_agent("true", options=["--seccomp", path, "--dry-run"], status=125)
