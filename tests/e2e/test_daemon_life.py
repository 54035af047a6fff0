"""The life of a shared sluiced: its end, full tables and disks, and thousands of connections that end badly."""

import json
import os
import signal
import subprocess
import time

import kernel
import world
from agent import as_ordinary, is_root
from shared import FOLDER, SharedCase

POLICY = """
version: 1
agents:
  "coder-*":
    allow:
      - host: allowed.test
      - host: ssh.test
        ports: [22]
        tls: "off"
"""


class Life(SharedCase):
    policy = POLICY

    def healthcheck(self):
        line = [f"{world.BIN}/sluiced", "--healthcheck", "--config", f"{self.folder}/sluiced.conf"]
        return self.finish(self.start(line if is_root() else as_ordinary(*line)))

    def test_the_health_check_tells_a_sluiced_that_serves_from_one_that_hangs_or_is_gone(self):
        daemon = self.start_sluiced()
        self.assertEqual(self.healthcheck().status, 0)
        daemon.send_signal(signal.SIGSTOP)
        hung = self.healthcheck()
        self.assertEqual(hung.status, 1, hung)
        self.assertIn("does not answer", hung.err)
        daemon.send_signal(signal.SIGCONT)
        self.assertEqual(self.healthcheck().status, 0)
        daemon.terminate()
        daemon.wait(60)
        gone = self.healthcheck()
        self.assertEqual(gone.status, 1, gone)
        self.assertIn("no sluiced answers at", gone.err)

    def agent(self, name):
        """An agent that runs inside/hold.py; ask() it."""
        process = self.start(
            self.command("run", "--quiet", "--agent", name, "--", world.PYTHON, "inside/hold.py"),
            stdin=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def ask(self, process, line):
        self.tell(process, line)
        return self.answer(process)

    def tell(self, process, line):
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()

    def answer(self, process):
        said = process.stdout.readline().decode()
        self.assertTrue(said, "the agent ended")
        return said.strip()

    def descriptors(self, daemon):
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    def resident(self, daemon):
        with open(f"/proc/{daemon.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def seconds_of_work(self, daemon):
        with open(f"/proc/{daemon.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name):
        line = ["curl", "-sS", "-m", "60", "--unix-socket", f"{FOLDER}/admin.sock", "http://admin/metrics"]
        for text in subprocess.run(line, capture_output=True, text=True, timeout=60).stdout.splitlines():
            if text.startswith(name + " "):
                return float(text.split()[1])
        self.fail(f"no metric {name}")

    def drain(self, daemon, manager):
        """SIGTERM, which has been heard when this returns. `manager`: from before it was started."""
        daemon.send_signal(signal.SIGTERM)
        while manager.recv(4096) != b"STOPPING=1":
            pass

    def audit_lines(self, host):
        return [line for line in self.whole_lines()[0] if line.get("host") == host]

    def whole_lines(self):
        """The lines of the audit log, and how many a full disk cut off; the last one may be half written."""
        whole, cut = [], 0
        with open(self.audit) as file:
            for line in file:
                if not line.endswith("\n"):
                    continue
                try:
                    whole.append(json.loads(line))
                except ValueError:
                    cut += 1
        return whole, cut


class TheEnd(Life):
    def test_a_download_that_runs_when_sigterm_comes_ends_whole_and_nothing_new_is_served(self):
        manager = self.service_manager()
        daemon = self.start_sluiced("timeouts: {drain: 120s}")
        agent = self.agent("coder-1")
        size = 30_000_000  # more than all buffers on its way hold
        self.assertEqual(self.ask(agent, f"begin /bytes/{size}"), "HTTP/1.1 200 OK")
        self.drain(daemon, manager)
        self.assertIsNone(daemon.poll())
        # The rest is read while another connection waits in vain.
        self.tell(agent, "finish")
        self.assertEqual(int(self.answer(agent)), size)
        self.assertEqual(daemon.wait(60), 0)
        line = self.audit_lines("allowed.test")[-1]
        self.assertEqual(line["verdict"], "allow")
        self.assertGreaterEqual(line["bytes_down"], size)

    def test_what_begins_after_sigterm_is_not_served(self):
        manager = self.service_manager()
        daemon = self.start_sluiced("timeouts: {drain: 3s}")
        agent = self.agent("coder-1")
        self.assertEqual(self.ask(agent, "tunnel ssh.test:22"), "SSH-2.0-origin")
        self.drain(daemon, manager)
        self.assertNotEqual(self.ask(agent, "fetch allowed.test"), "200")
        self.assertEqual(daemon.wait(60), 0)
        self.assertEqual(self.outside.events("http"), [])

    def test_a_tunnel_that_is_open_when_the_drain_ends_is_cut_and_in_the_account(self):
        daemon = self.start_sluiced("timeouts: {drain: 6s}")
        agent = self.agent("coder-1")
        self.assertEqual(self.ask(agent, "tunnel ssh.test:22"), "SSH-2.0-origin")
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ask(agent, "say still-here"), "still-here")
        self.assertEqual(daemon.wait(60), 0)
        self.assertGreater(time.monotonic() - began, 5.9)
        self.assertIn(self.ask(agent, "say gone"), ("the end", "BrokenPipeError", "ConnectionResetError"))
        line = self.audit_lines("ssh.test")[-1]
        self.assertEqual((line["bytes_up"], line["verdict"]), (len("still-here"), "allow"))
        self.assertEqual(line["bytes_down"], len("SSH-2.0-origin\r\n") + len("still-here"))

    def test_a_second_sigterm_ends_it_at_once(self):
        manager = self.service_manager()
        daemon = self.start_sluiced("timeouts: {drain: 600s}")
        agent = self.agent("coder-1")
        self.assertEqual(self.ask(agent, "tunnel ssh.test:22"), "SSH-2.0-origin")
        self.drain(daemon, manager)
        self.assertIsNone(daemon.poll())
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(60), 0)


class WithoutRoom(Life):
    def test_without_descriptors_accepting_pauses_without_spinning_and_the_rest_goes_on(self):
        daemon = self.start_sluiced("timeouts: {first_byte: 600s}\nthreads: 1")
        crowd, other = self.agent("coder-1"), self.agent("coder-2")
        self.assertEqual(self.ask(crowd, "fetch allowed.test"), "200")
        self.assertEqual(self.ask(other, "tunnel ssh.test:22"), "SSH-2.0-origin")
        most = self.descriptors(daemon) + 50
        limit = ["prlimit", "--pid", str(daemon.pid), f"--nofile={most}:{most}"]
        subprocess.run(limit if is_root() else as_ordinary(*limit), check=True, timeout=60)
        self.assertEqual(self.ask(crowd, "open 300"), "300")  # the kernel's backlog takes the rest
        self.wait_until(lambda: self.descriptors(daemon) >= most - 2, "the descriptors are not used up")
        before = self.seconds_of_work(daemon)
        time.sleep(1)
        self.assertLess(self.seconds_of_work(daemon) - before, 0.3, "it spins")
        self.assertEqual(self.ask(other, "say still-here"), "still-here")
        self.ask(crowd, "close")
        self.assertEqual(self.ask(other, "fetch allowed.test"), "200")
        self.assertEqual(self.ask(crowd, "fetch allowed.test"), "200")

    def test_an_agent_with_two_thousand_idle_connections_keeps_no_other_from_its_requests(self):
        self.start_sluiced("timeouts: {first_byte: 600s}")
        crowd, other = self.agent("coder-1"), self.agent("coder-2")
        self.assertGreater(int(self.ask(crowd, "open 2000")), 1500)
        answers = [self.ask(other, "fetch allowed.test") for _ in range(50)]
        self.assertEqual(answers, ["200"] * 50)

    def test_on_a_full_disk_requests_go_on_the_lost_lines_are_counted_and_writing_resumes(self):
        disk = f"{self.folder}/disk"
        os.makedirs(disk)
        kernel.mount("tmpfs", disk, "tmpfs", 0, "size=64k,mode=0777")
        self.audit = f"{disk}/audit.jsonl"
        self.start_sluiced()
        agent = self.agent("coder-1")
        self.assertEqual(self.ask(agent, "fetch allowed.test"), "200")
        self.wait_until(lambda: self.audit_lines("allowed.test"), "no line is written")
        ballast = f"{disk}/ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        answers = {self.ask(agent, "fetch allowed.test") for _ in range(40)}
        self.assertEqual(answers, {"200"})
        lost = "sluice_audit_dropped_total"
        self.wait_until(lambda: self.metric(lost) > 0, "what is lost is not counted")
        os.unlink(ballast)
        self.assertEqual(self.ask(agent, "fetch other.test"), "403")
        self.wait_until(lambda: self.audit_lines("other.test"), "nothing is written any more")
        lines, cut = self.whole_lines()
        self.assertLessEqual(cut, 1, "more than the line at which the disk was full")

        def told():
            return sum(line["count"] for line in self.whole_lines()[0] if line.get("event") == "lines_dropped")

        self.wait_until(lambda: told() == self.metric(lost), lines[-3:])


class BadEnds(Life):
    """Ten thousand of each kind; the origins see those that get so far."""

    COUNT = 10_000
    ROOM = 8 << 20  # bytes: what the allocator does not give back

    def abort(self, kind, count):
        run = self.sluice(
            "run", "--quiet", "--agent", "coder-1", "--", world.PYTHON, "inside/abort.py", kind, str(count), timeout=300
        )
        self.assertEqual(run.status, 0, run)
        return int(run.out)

    def assert_nothing_stays(self, kind):
        daemon = self.start_sluiced()
        other = self.agent("coder-2")
        self.assertEqual(self.ask(other, "fetch allowed.test"), "200")
        self.abort(kind, self.COUNT)  # the first thousands fill pools, caches and the audit queue once
        self.assertEqual(self.ask(other, "fetch allowed.test"), "200")
        self.wait_until(lambda: self.metric("sluice_agents") == 1, "the agent stays")
        fds, resident = self.descriptors(daemon), [self.resident(daemon)]
        # What leaks does so in each round; where a stall made more of them live at once than ever before, it is this one's.
        while len(resident) < 2 or (resident[-1] - resident[-2] >= self.ROOM and len(resident) < 6):
            self.assertGreater(self.abort(kind, self.COUNT), self.COUNT * 0.95)
            self.wait_until(lambda: self.metric("sluice_agents") == 1, "the agent stays")
            self.wait_until(lambda: self.descriptors(daemon) <= fds, "descriptors are left")
            resident.append(self.resident(daemon))
        self.assertLess(resident[-1] - resident[-2], self.ROOM, resident)
        self.assertEqual(self.ask(other, "fetch allowed.test"), "200")

    def test_ten_thousand_connections_that_say_nothing_leave_nothing(self):
        self.assert_nothing_stays("connect and close")

    def test_ten_thousand_half_heads_leave_nothing(self):
        self.assert_nothing_stays("half a head")

    def test_ten_thousand_half_bodies_leave_nothing(self):
        self.assert_nothing_stays("half a body")

    def test_ten_thousand_half_client_hellos_leave_nothing(self):
        self.assert_nothing_stays("half a ClientHello")

    def test_ten_thousand_half_socks_greetings_leave_nothing(self):
        self.assert_nothing_stays("half a SOCKS greeting")

    def test_ten_thousand_half_tunnels_leave_nothing(self):
        self.assert_nothing_stays("half a CONNECT tunnel")
