"""How a run ends, what it leaves, and what happens when a part of it dies."""

import json
import os
import re
import signal
import subprocess
import time

import world
from agent import AT_ONCE, PATIENT, Case, curl


class ExitStatus(Case):
    def test_the_exit_status_is_the_commands_own(self):
        cases = {"exit 0": 0, "exit 7": 7, "exit 125": 125, "kill $$": 143, "kill -9 $$": 137}
        for script, status in cases.items():
            with self.subTest(script):
                self.run_agent("bash", "-c", script, status=status)

    def test_a_command_that_does_not_exist_is_127_and_one_that_cannot_be_run_126(self):
        self.assertIn("no-such-program", self.run_agent("no-such-program", status=127).err)
        self.run_agent("/no/such/program", status=127)
        self.write(f"{self.workspace}/text", "no program\n")
        self.run_agent(f"{self.workspace}/text", status=126)
        self.run_agent("/usr", status=126)

    def test_an_empty_environment_is_no_hindrance(self):
        """That of a service or a container, say."""
        self.environment = {}
        run = self.finish(self.start(self.command(*self.run_line("/usr/bin/id", "-u"))))
        self.assertEqual(run.status, 0, run)

    def test_a_timeout_is_124_and_leaves_nothing(self):
        before = set(world.processes())
        run = self.run_agent(
            "bash", "-c", "trap '' TERM; setsid sleep 300 & sleep 300", options=["--timeout", "1s"],
            status=124,
        )  # fmt: skip
        self.assertLess(run.seconds, 60)
        self.assert_gone(before)

    def assert_gone(self, before, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            left = {pid: line for pid, line in world.processes().items() if pid not in before}
            if not left:
                return
            time.sleep(0.05)
        self.fail(f"still running: {left}")

    def test_a_daemon_that_the_agent_left_ends_with_the_agent(self):
        before = set(world.processes())
        self.shell("setsid nohup sleep 300 >/dev/null 2>&1 & trap '' TERM; exit 0")
        self.assert_gone(before)

    def test_standard_input_and_output_pass_as_they_are(self):
        process = self.start_agent("cat", stdin=subprocess.PIPE)
        data = bytes(range(256)) * 4096
        out, err = process.communicate(data, timeout=PATIENT)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(out, data)

    def test_kill_9_of_sluice_leaves_no_process_and_the_agents_name_is_free_again(self):
        before = set(world.processes())
        script = "trap '' TERM HUP; setsid sleep 300 & echo up; sleep 300"
        process = self.start_agent("bash", "-c", script)
        self.addCleanup(process.communicate)
        self.assertEqual(process.stdout.readline(), b"up\n")
        self.assertGreaterEqual(len(set(world.processes()) - before), 3)
        os.kill(self.pid_of_sluice(process), signal.SIGKILL)
        self.assert_gone(before)
        self.run_agent(*curl("https://allowed.test/"))

    def test_kill_9_of_sluice_at_any_moment_of_its_start_leaves_no_process(self):
        before = set(world.processes())
        for step in range(12):
            process = self.start_agent("sleep", "300")
            time.sleep(step * 0.012)
            process.kill()
            process.communicate()
            self.assert_gone(before)

    def test_a_sandbox_whose_init_is_killed_ends_the_run(self):
        before = set(world.processes())
        process = self.start_agent("bash", "-c", "echo up; sleep 300")
        self.assertEqual(process.stdout.readline(), b"up\n")
        agent = self.pid_of_line(("bash", "sleep"), before)
        os.kill(self.parent(agent, before), signal.SIGKILL)
        run = self.finish(process)
        self.assertNotEqual(run.status, 0, run)
        self.assert_gone(before)

    def pid_of_line(self, beginnings, before):
        """The first new process whose command line begins so; it has none while it execs."""
        for _ in range(3000):
            for pid, line in world.processes().items():
                if pid not in before and line.startswith(beginnings):
                    return pid
            time.sleep(0.02)
        self.fail(f"no process {beginnings}: {world.processes()}")

    def parent(self, pid, before):
        """The ancestor of `pid` that is pid 1 of its own namespace."""
        while True:
            with open(f"/proc/{pid}/status") as file:
                fields = dict(line.split(":", 1) for line in file)
            if fields["NSpid"].split()[-1] == "1":
                return pid
            pid = int(fields["PPid"])
            self.assertNotIn(pid, before)

    def test_a_flood_of_refusals_does_not_flood_the_person(self):
        """2000 refused requests: stderr stays readable, and the counts at the end are whole."""
        request = "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n"
        job = {"to": ["127.0.0.1", 3128], "steps": [request * 100, {"until": "HTTP/1.1 403", "times": 100}], "quiet": 1}
        jobs = json.dumps({str(number): job for number in range(20)})
        path = self.write(f"{self.workspace}/jobs.json", jobs)
        run = self.run_agent(world.PYTHON, "inside/wire.py", path)
        self.assertLess(len(run.err.splitlines()), 400)
        asked = sum(a["reply"].count("HTTP/1.1 403") for a in run.json().values())
        self.assertRegex(run.err.strip().splitlines()[-1], rf"not_listed {asked}\b")

    def test_a_workspace_may_lie_in_tmp_and_have_any_name(self):
        odd = ("with space", "with:colon", "new\nline", "\u00fcber", "back\\slash", '"')
        for name in ("/tmp/work", "/var/tmp/work", *[f"/home/{name}" for name in odd]):
            with self.subTest(name):
                os.makedirs(name)
                self.own(name)
                self.run_agent("touch", f"{name}/made", options=["--workspace", name])
                self.assertTrue(os.path.exists(f"{name}/made"))

    def pid_of_sluice(self, process):
        # setpriv and unshare exec what they are told to.
        self.assertIn("sluice", world.processes()[process.pid])
        return process.pid

    def test_sigterm_and_sigint_end_the_run_and_leave_nothing(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number.name):
                before = set(world.processes())
                process = self.start_agent("bash", "-c", "echo up; exec sleep 300")
                self.assertEqual(process.stdout.readline(), b"up\n")
                self.pid_of_line(("sleep",), before)  # a shell on its way there might lose the signal
                process.send_signal(number)
                self.finish(process)
                self.assert_gone(before)

    def test_a_run_leaves_no_file_behind(self):
        def seen():
            found = set()
            for top in ("/run", "/tmp", "/var/tmp", "/dev/shm", self.home, self.workspace):
                for folder, folders, files in os.walk(top):
                    found |= {f"{folder}/{name}" for name in folders + files}
            # Slots of host ids (locks): as many as there are ids, and empty.
            return {path for path in found if not path.startswith("/run/sluice/uids/")}

        self.run_agent("true")  # directories that a first run makes may stay
        before = seen()
        self.run_agent("bash", "-c", "echo x > /tmp/x; echo x > /dev/shm/x")
        self.assertEqual(seen() - before, set())

    def test_two_runs_at_once_do_not_see_each_other(self):
        script = "python3 -m http.server 8000 --bind 127.0.0.1 & echo up; sleep 300"
        first = self.start_agent("bash", "-c", script)
        self.addCleanup(first.communicate)
        self.addCleanup(first.kill)
        self.assertEqual(first.stdout.readline(), b"up\n")
        text = open(self.policy_file).read().replace("coder-1", "coder-2")
        other = self.write(f"{os.path.dirname(self.policy_file)}/other.yaml", text)
        run = self.sluice(
            "run", "--policy", other, "--agent", "coder-2", "--", "bash", "-c",
            "curl -s -m 60 http://127.0.0.1:8000/; echo curl: $?; pgrep -f http.server; true",
        )  # fmt: skip
        self.assertIn("curl: 7", run.out, run)
        taken = self.sluice(*self.run_line("true"))
        self.assertEqual(taken.status, 125, taken)
        self.assertIn("coder-1", taken.err)


class Session(Case):
    """An agent that is told line by line what to run, and the sluiced behind it."""

    FETCH = " ".join(curl("https://allowed.test/")) + " 2>&1"

    def session(self):
        """An agent that runs each line of its stdin and says `done STATUS`."""
        script = 'while read -r line; do (eval "$line"); echo "done $?"; done'
        process = self.start_agent("bash", "-c", script, stdin=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def ask(self, process, line):
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        said = []
        while not (said and said[-1].startswith("done ")):
            answer = process.stdout.readline().decode()
            self.assertTrue(answer, f"the agent ended: {said}")
            said.append(answer)
        return int(said[-1][5:]), "".join(said[:-1])

    def proxy(self, before, dead=()):
        """The pid of the sluiced that belongs to this run."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for pid, line in world.processes().items():
                if pid not in before and pid not in dead and re.match(r"\S*sluiced\b", line):
                    return pid
            time.sleep(0.05)
        self.fail(f"no sluiced: {world.processes()}")


class TheProxyDies(Session):
    """An embedded proxy that dies is started again and handed the listeners; twice a minute."""

    def test_kill_9_of_the_proxy_is_survived_twice_and_after_the_third_connects_are_refused(self):
        before = set(world.processes())
        agent = self.session()
        self.assertEqual(self.ask(agent, self.FETCH)[0], 0)
        address = self.ask(agent, "getent ahosts allowed.test")[1].split()[0]
        dead = set()
        for _ in range(2):
            pid = self.proxy(before, dead)
            os.kill(pid, signal.SIGKILL)
            dead.add(pid)
            self.proxy(before, dead)
            status, said = self.ask(agent, self.FETCH)
            self.assertEqual(status, 0, said)
        # An address that was given out keeps its name.
        known = ["--noproxy", "'*'", "--resolve", f"allowed.test:443:{address}"]
        line = " ".join(curl(*known, "https://allowed.test/"))
        self.assertEqual(self.ask(agent, line)[0], 0)
        os.kill(self.proxy(before, dead), signal.SIGKILL)
        told = agent.stderr.readline()
        while told and b"every connection is refused until" not in told:
            told = agent.stderr.readline()
        self.assertIn(b"died three times within a minute", told)
        status, said = self.ask(agent, self.FETCH)
        self.assertEqual(status, 7, said)  # could not connect
        status, said = self.ask(agent, f"curl -sS -m 60 --noproxy '*' http://{address}/ 2>&1")
        self.assertEqual(status, 7, said)


class Quotas(Case):
    """Agent and proxy are one user to the kernel: what one uses up must not stop the other."""

    def test_an_agent_that_uses_up_its_users_quotas_does_not_stop_the_proxy(self):
        for quota in ("pipes", "epoll", "inotify", "pending"):
            with self.subTest(quota):
                fetch = curl("-o", "got", "https://allowed.test/bytes/8388608")
                run = self.run_agent(
                    world.PYTHON, "inside/quotas.py", quota, *fetch
                )
                print(f"{quota}: {run.out.strip()}")
                self.assertEqual(os.stat(f"{self.workspace}/got").st_size, 8388608, run)
                os.unlink(f"{self.workspace}/got")

    def test_an_agent_with_a_thousand_connections_is_answered_and_can_go_on_afterwards(self):
        """More than its share are refused by an answer, and nothing waits."""
        run = self.run_agent(world.PYTHON, "inside/crowd.py", "1000")
        told = run.json()
        self.assertLess(told["ms_in_the_crowd"], AT_ONCE, told)
        self.assertEqual(told["afterwards"], "HTTP/1.1 200", told)


class BadEnds(Session):
    """Connections that end badly cost sluiced nothing that stays."""

    def test_after_two_thousand_resets_no_descriptor_is_left_open(self):
        before = set(world.processes())
        agent = self.session()
        self.assertEqual(self.ask(agent, self.FETCH)[0], 0)
        pid = self.proxy(before)
        at_rest = self.descriptors(pid)
        status, said = self.ask(agent, f"{world.PYTHON} inside/churn.py resets 2000")
        self.assertEqual(status, 0, said)
        self.assertGreater(int(said), 1800)
        end = time.monotonic() + 60  # a half-said hello that was not reset in time: first_byte, then headers
        while self.descriptors(pid) > at_rest and time.monotonic() < end:
            time.sleep(0.1)
        self.assertLessEqual(self.descriptors(pid), at_rest)
        self.assertEqual(self.ask(agent, self.FETCH)[0], 0)

    def descriptors(self, pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    def test_readers_that_never_read_do_not_fill_the_proxys_memory(self):
        """Sixteen times 256 MiB are on their way; sluiced holds a buffer each."""
        before = set(world.processes())
        agent = self.session()
        self.assertEqual(self.ask(agent, self.FETCH)[0], 0)
        pid = self.proxy(before)
        at_rest = self.resident(pid)
        agent.stdin.write(f"{world.PYTHON} inside/churn.py stuck 16\n".encode())
        agent.stdin.flush()
        self.assertEqual(agent.stdout.readline(), b"asked\n")
        time.sleep(2)
        self.assertLess(self.resident(pid) - at_rest, 16 << 20)

    def resident(self, pid):
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
