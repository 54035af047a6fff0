"""Hot upgrade: a new sluiced takes over from the old one, and no agent notices."""

import json
import os
import re
import signal
import socket
import subprocess
import time

import scrape
import world
from agent import PATIENT, as_ordinary, curl, decisions, is_root
from shared import FOLDER, SOCKET, SharedCase

BUSY = "the running sluiced is ending already"  # or handing over

LOOP = """
    for i in $(seq 10000); do
        test -e stop && break
        {fetch} || echo "FAILED $i"
    done
"""


def ask_to_take_over():
    """A connection that has said what a new sluiced says first."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.settimeout(60)
    link.connect(SOCKET)
    link.send(json.dumps({"v": 1, "op": "take_over", "format": 2}).encode())
    return link


def receive(link):
    """One message; its descriptors are closed."""
    text, fds, _, _ = socket.recv_fds(link, 1 << 16, 16)
    for fd in fds:
        os.close(fd)
    return json.loads(text) if text else None


class TakeOver(SharedCase):
    admin_address = "'127.0.0.1:9915'"

    def setUp(self):
        super().setUp()
        self.config = f"{self.folder}/sluiced.conf"

    def start_new(self, config=None, environment=None):
        command = [f"{world.BIN}/sluiced", "--config", config or self.config, "--take-over"]
        daemon = subprocess.Popen(
            command if is_root() else as_ordinary(*command),
            env=environment or self.environment,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.addCleanup(daemon.communicate)
        self.addCleanup(daemon.kill)
        return daemon

    def succeed(self, old):
        """A new sluiced that serves now; the old one has ended."""
        new = self.start_new()
        self.assertEqual(old.wait(120), 0)
        self.assertIsNone(new.poll())
        return new

    def start_shell(self, script):
        line = ["run", "--agent", "coder-1", "--", "bash", "-c", script]
        agent = self.start(self.command(*line), subprocess.PIPE)
        self.addCleanup(agent.communicate)
        self.addCleanup(agent.kill)
        return agent

    def start_held(self, more=""):
        """An agent whose one request the origin answers when release() says so; and then `more`."""
        name = f"release-{os.path.basename(self.workspace)}"
        self.addCleanup(self.release)
        self.held = f"{world.BASE}/{name}"
        fetch = " ".join(curl("-m", "300", f"https://allowed.test/held/{name}"))
        agent = self.start_shell(f"{fetch} & echo up; wait; {more}")
        self.assertEqual(agent.stdout.readline(), b"up\n")
        self.assertIsNotNone(self.outside.wait_for("http", lambda event: event["path"] == f"/held/{name}"))
        return agent

    def release(self):
        with open(self.held, "w"):
            pass

    def offer(self):
        """A connection to a sluiced that has got over the asking before this, and its first message; None: it is gone."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                link = ask_to_take_over()
                self.addCleanup(link.close)
                first = receive(link)
            except OSError:
                return None
            if first is None or BUSY not in first.get("error", ""):
                return first and (link, first)
            link.close()
            time.sleep(0.02)
        self.fail("it never gets over it")

    def succeed_soon(self, old):
        """succeed(), of one that may still be about an asking before."""
        while True:
            new = self.start_new()
            self.wait_until(lambda: (old.poll(), new.poll()) != (None, None), "nobody takes over")
            if old.poll() is not None:
                self.assertEqual((old.wait(), new.poll()), (0, None))
                return new
            self.assertIn(BUSY.encode(), new.communicate()[1])

    def descriptors(self, daemon):
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    def test_no_request_fails_while_one_sluiced_after_the_other_takes_over(self):
        daemon = self.start_sluiced("timeouts: {drain: 60s}")  # far more than a request takes
        fetch = " ".join(curl("-o", "/dev/null", "https://allowed.test/"))
        agent = self.start_shell(LOOP.format(fetch=fetch))
        for _ in range(5):
            time.sleep(0.3)
            daemon = self.succeed(daemon)
        self.write(f"{self.workspace}/stop", "")
        run = self.finish(agent)
        self.assertEqual(run.status, 0, run)
        self.assertNotIn("FAILED", run.out, run)
        self.assertNotIn("sluiced is gone", run.err, run)
        self.assertRegex(run.err, r"coder-1: allowed \d+, blocked 0\b")
        allowed = int(re.search(r"coder-1: allowed (\d+)", run.err)[1])

        def account():
            return decisions(self.audit)

        # What every one of them counted is in the last line.
        self.wait_until(lambda: len(account()) >= allowed, "fewer audit lines than were counted")
        lines = account()
        self.assertEqual({line["reason"] for line in lines if line["via"] == "connect"}, {"listed"})
        self.assertEqual(sum(line["verdict"] == "allow" for line in lines), allowed)

    def test_what_waits_in_the_old_one_goes_on_to_its_end(self):
        manager = self.service_manager()
        old = self.start_sluiced("timeouts: {drain: 300s}")
        self.assertEqual(manager.recv(4096).decode(), f"MAINPID={old.pid}\nREADY=1")
        agent = self.start_held("echo done")
        new = self.start_new()
        self.assertEqual(manager.recv(4096).decode(), f"MAINPID={new.pid}")
        self.assertEqual(manager.recv(4096).decode(), f"MAINPID={new.pid}\nREADY=1")
        self.assertIsNone(old.poll(), "the old one must serve its tunnel to the end")
        self.release()
        run = self.finish(agent)
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIn("coder-1: allowed 1, blocked 0", run.err, run)
        self.assertEqual(old.wait(60), 0)

    def test_a_budget_goes_along_and_is_told_while_counters_begin_anew(self):
        policy = "version: 1\nagents:\n  coder-1: {allow: [{host: allowed.test}], limits: {download: 1MiB/day}}\n"
        self.write(self.policy_file, policy)
        old = self.start_sluiced("timeouts: {drain: 2s}")
        fetch = " ".join(curl("-o", "/dev/null", "https://allowed.test/bytes/100000"))
        agent = self.start_shell(f"{fetch}; echo up; read line; {fetch}; echo more; read line; exit 0")
        spent = 'sluice_budget_spent_bytes{agent="coder-1",direction="down"}'
        moved = 'sluice_bytes_total{agent="coder-1",direction="down"}'

        def seen():
            series = scrape.series()
            return [series.get(name) for name in (spent, moved)]

        self.assertEqual(agent.stdout.readline(), b"up\n")
        # curl has ended; its tunnel still passes the last bytes of TLS, which count.
        open_now = 'sluice_tunnels{agent="coder-1"}'
        self.wait_until(lambda: scrape.series()[open_now] == 0, "the tunnel stays open")
        before = scrape.series()[spent]
        self.assertGreater(before, 100000)
        self.succeed(old)
        self.wait_until(lambda: seen() == [before, 0], f"{before}, 0 are not {seen()}")
        agent.stdin.write(b"\n")
        agent.stdin.flush()
        self.assertEqual(agent.stdout.readline(), b"more\n")
        self.wait_until(lambda: scrape.series()[moved] > 100000, f"nothing moved: {seen()}")
        self.wait_until(lambda: scrape.series()[open_now] == 0, "the tunnel stays open")
        self.assertEqual(scrape.series()[spent], before + scrape.series()[moved])
        run = self.finish(agent)
        self.assertEqual(run.status, 0, run)

    def test_synthetic_addresses_stay_what_they_are(self):
        old = self.start_sluiced()
        script = """
            address() { getent ahostsv4 $1 | awk 'NR==1 {print $1}'; }
            before=$(address allowed.test); echo $before; read line
            after=$(address allowed.test); other=$(address one.wild.test)
            test $before = $after && test $before != $other && echo same
            curl -sS -m 60 --noproxy '*' --resolve allowed.test:80:$before http://allowed.test/
        """
        agent = self.start_shell(script)
        self.assertRegex(agent.stdout.readline(), rb"^198\.1[89]\.")
        new = self.succeed(self.succeed(old))
        run = self.finish(agent, stdin=b"go\n")
        self.assertIn("same\n", run.out, run)
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIsNone(new.poll())

    def test_a_new_configuration_or_policy_that_is_broken_leaves_the_old_one_serving(self):
        old = self.start_sluiced()
        agent = self.start_shell(f"read line; {' '.join(curl('https://allowed.test/'))}")
        broken = self.write(f"{self.folder}/broken.yaml", "version: 1\nagents: [\n")
        with open(self.config) as file:
            good = file.read()
        cases = {
            "configuration": good + "no_such_key: 1\n",
            "policy": good.replace(self.policy_file, broken),
            "listener": good.replace("127.0.0.1:9915", "203.0.113.7:9915"),
            "audit": good.replace(self.audit, "/no/such/directory/audit"),
        }
        for name, text in cases.items():
            with self.subTest(name):
                new = self.start_new(self.write(f"{self.folder}/new.conf", text))
                self.assertEqual(new.wait(60), 1)
                self.assertIsNone(old.poll())
        run = self.finish(agent, stdin=b"go\n")
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertNotIn("sluiced is gone", run.err, run)

    def test_a_new_one_that_dies_on_the_way_leaves_the_old_one_serving(self):
        old = self.start_sluiced()
        fetch = " ".join(curl("-o", "/dev/null", "https://allowed.test/"))
        agent = self.start_shell(LOOP.format(fetch=fetch))
        self.assertIsNotNone(self.outside.wait_for("tls", lambda event: True))
        ask_to_take_over().close()
        for messages in (1, 3, None):
            link, first = self.offer()
            with link:
                said = [first]
                while len(said) != messages and said[-1]["op"] != "complete":
                    said.append(receive(link))
        self.assertIn("peer", [message["op"] for message in said])
        for step in range(6):
            new = self.start_new()
            time.sleep(step * 0.01)
            new.kill()
            new.wait(60)
            if not (offered := self.offer()):
                break  # it had taken over already: the old one only ends its tunnels
            offered[0].close()
        lost = 0
        if offered:
            self.succeed_soon(old)
        else:
            lost = 1  # what the killed one was carrying, if anything
            self.start_sluiced()
        self.write(f"{self.workspace}/stop", "")
        run = self.finish(agent)
        self.assertLessEqual(run.out.count("FAILED"), lost, run)

    def test_who_asks_and_then_says_nothing_or_nonsense_gets_nothing(self):
        old = self.start_sluiced()
        agent = self.start_shell(f"read line; {' '.join(curl('https://allowed.test/'))}")
        for answer in (b"nonsense", b'{"v":1,"op":"spent","lines":""}'):
            link, said = self.offer()
            with link:
                while said["op"] != "complete":
                    said = receive(link)
                link.send(answer)
                self.assertIn("error", receive(link))
        link, _ = self.offer()  # under way
        with ask_to_take_over() as second:
            link.close()
            self.assertIsNotNone(receive(second))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
            link.connect(SOCKET)
            link.send(b'{"v":1,"op":"take_over","format":1}')
            self.assertIn("another form", receive(link)["error"])
        run = self.finish(agent, stdin=b"go\n")
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIsNone(old.poll())

    def test_a_third_one_waits_until_the_first_has_ended_its_connections(self):
        first = self.start_sluiced("timeouts: {drain: 300s}")
        manager = self.service_manager()
        agent = self.start_held(" ".join(curl("https://allowed.test/")))
        second = self.start_new()
        self.assertEqual(manager.recv(4096).decode(), f"MAINPID={second.pid}\nREADY=1")
        third = self.start_new()
        said = third.communicate(timeout=60)[1]
        self.assertEqual(third.returncode, 1, said)
        self.assertIn(b"cannot take over: the sluiced before the running one still has", said)
        self.assertIsNone(first.poll(), "the slow connection is still open")
        self.assertIsNone(second.poll())
        self.release()
        self.assertEqual(first.wait(60), 0)
        self.succeed(second)
        run = self.finish(agent)
        self.assertEqual(run.out.count('"origin": "allowed.test"'), 2, run)
        self.assertIn("coder-1: allowed 2, blocked 0", run.err, run)

    def test_ten_in_a_row_leave_no_descriptor_behind(self):
        daemon = self.start_sluiced("timeouts: {drain: 1s}")
        agent = self.start_shell(f"echo up; read line; {' '.join(curl('https://allowed.test/'))}")
        self.assertEqual(agent.stdout.readline(), b"up\n")
        daemon = self.succeed(daemon)
        self.wait_until(self.answers, "it does not listen")
        before = self.descriptors(daemon)
        for _ in range(10):
            daemon = self.succeed(daemon)
        # Those of a conversation come and go; one that stays each time makes ten.
        self.wait_until(lambda: self.descriptors(daemon) <= before + 5, "descriptors are left over")
        run = self.finish(agent, stdin=b"go\n")
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIn("coder-1: allowed 1, blocked 0", run.err, run)

    def test_the_service_manager_hears_who_serves(self):
        manager = self.service_manager()
        old = self.start_sluiced()
        self.assertEqual(manager.recv(4096).decode(), f"MAINPID={old.pid}\nREADY=1")
        old.send_signal(signal.SIGHUP)
        self.assertRegex(manager.recv(4096).decode(), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.assertEqual(manager.recv(4096), b"READY=1")
        new = self.start_new()
        self.assertEqual(manager.recv(4096).decode(), f"MAINPID={new.pid}")
        self.assertEqual(manager.recv(4096).decode(), f"MAINPID={new.pid}\nREADY=1")
        self.assertEqual(old.wait(60), 0)
        new.send_signal(signal.SIGTERM)
        self.assertEqual(manager.recv(4096), b"STOPPING=1")
        self.assertEqual(new.wait(60), 0)

    def test_after_a_crash_the_agents_are_registered_again_with_their_synthetic_addresses(self):
        old = self.start_sluiced()
        script = """
            address() { getent ahostsv4 $1 | awk 'NR==1 {print $1}'; }
            before=$(address allowed.test); echo $before; read line
            after=$(address allowed.test); test $before = $after && echo same
            curl -sS -m 60 --noproxy '*' --resolve allowed.test:80:$before http://allowed.test/
        """
        agent = self.start_shell(script)
        self.assertRegex(agent.stdout.readline(), rb"^198\.1[89]\.")
        old.send_signal(signal.SIGKILL)
        old.wait(60)
        self.start_sluiced()
        run = self.finish(agent, stdin=b"go\n")
        self.assertIn("same\n", run.out, run)
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertRegex(run.err, "sluiced is back|counted since", run)

    def test_a_sluiced_that_stays_away_too_long_gets_new_listeners_when_it_is_back(self):
        old = self.start_sluiced()
        fetch = " ".join(curl("https://allowed.test/"))
        agent = self.start_shell(f"{fetch}; read line; {fetch} 2>&1; echo closed; read line; {fetch}")
        self.assertIn(b'"origin": "allowed.test"', agent.stdout.readline())
        old.send_signal(signal.SIGKILL)
        old.wait(60)
        told = agent.stderr.readline()
        while told and b"every connection is refused until sluiced is back" not in told:
            told = agent.stderr.readline()
        self.assertTrue(told, "its listeners were not closed")
        agent.stdin.write(b"go\n")
        agent.stdin.flush()
        refused = agent.stdout.readline() + agent.stdout.readline()
        self.assertIn(b"closed\n", refused)
        self.assertNotIn(b"origin", refused)
        self.start_sluiced()
        self.assertIn(b"sluiced is back", agent.stderr.readline())
        run = self.finish(agent, stdin=b"go\n")
        self.assertEqual(run.status, 0, run)
        self.assertIn('"origin": "allowed.test"', run.out, run)

    def test_explicit_listeners_are_taken_over_and_one_that_is_no_longer_configured_is_closed(self):
        listen = "listen: [{address: '127.0.0.1:%d', agent: coder-1}]"
        old = self.start_sluiced(listen % 3199)
        line = ["curl", "-sS", "-m", "60", "-x", "http://127.0.0.1:3199", "http://allowed.test/"]

        def fetch():
            return subprocess.run(line, capture_output=True, text=True, timeout=PATIENT)

        for _ in range(3):
            new = self.start_new()
            while old.poll() is None:
                self.assertIn('"origin": "allowed.test"', fetch().stdout)
            old = new
        with open(self.config) as file:
            other = file.read().replace("3199", "3198")
        new = self.start_new(self.write(f"{self.folder}/other.conf", other))
        self.assertEqual(old.wait(60), 0)
        self.wait_until(lambda: "Failed to connect" in fetch().stderr, "somebody listens there still")
        line[line.index("http://127.0.0.1:3199")] = "http://127.0.0.1:3198"
        self.assertIn('"origin": "allowed.test"', fetch().stdout)
        self.assertIsNone(new.poll())
