"""What sluiced counts is what happened, under the names that docs/metrics.md has."""

import collections
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import scrape
import world
from agent import POLICY, curl, has_groups, is_root
from shared import SOCKET, SharedCase

ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
TYPE = re.compile(r"^# TYPE (\w+) (\w+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="')


class MetricsCase(SharedCase):
    def setUp(self):
        super().setUp()
        self.start_sluiced()

    def line(self, *command, options=(), agent="coder-1"):
        return ("run", "--agent", agent, *options, "--", *command)

    def run_shared(self, *command, **keywords):
        return self.sluice(*self.line(*command, **keywords))

    def await_series(self, name, value):
        self.wait_until(lambda: scrape.series().get(name) == value, f"not {value}: {name}")


class ThePage(MetricsCase):
    policy = POLICY + "    limits: {upload: 1TiB/day}\n"

    def busy_page(self):
        self.run_shared("bash", "-c", "; ".join([" ".join(curl("https://deep.wild.test/")), "curl -s http://other.test/"]))
        self.await_series('sluice_agent_ends_total{agent="coder-1",end="succeeded"}', 1)
        return scrape.page()

    def test_promtool_finds_nothing_to_say_about_it(self):
        checked = subprocess.run(
            [f"{world.PROMETHEUS}/promtool", "check", "metrics"], input=self.busy_page(), capture_output=True, text=True, timeout=60
        )
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))

    def test_docs_metrics_md_names_each_metric_its_type_and_its_labels_and_no_other(self):
        page = self.busy_page()
        types = dict(TYPE.findall(page))
        shown = {name: (kind, set()) for name, kind in types.items()}
        for series in re.findall(r"^(\w+)(?:\{(.*)\})? ", page, re.MULTILINE):
            name = series[0] if series[0] in types else re.sub(r"_(bucket|sum|count)$", "", series[0])
            shown[name][1].update(set(LABEL.findall(series[1])) - {"le"})
        with open(f"{world.DOCS}/metrics.md") as file:
            rows = ROW.findall(file.read())
        told = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
        self.assertEqual(told, shown)

    def test_the_path_is_measured(self):
        self.busy_page()
        self.await_series("sluice_connect_duration_seconds_count", 1)
        self.await_series("sluice_resolver_duration_seconds_count", 1)
        found = scrape.series()
        self.assertGreaterEqual(found["sluice_decision_duration_seconds_count"], 2)
        self.assertGreater(found["sluice_tunnels_limit"], 0)
        self.await_series("sluice_containment_probe_ok", 1)

    def test_bytes_that_were_spliced_are_among_those_that_were_moved(self):
        # A reader slower than the origin finds full buffers before it, which is when splice(2) is worth it. How much that
        # is of one download is the scheduler's to say.
        for _ in range(10):
            self.run_shared(*curl("-o", "/dev/null", "--limit-rate", "20M", "https://allowed.test/bytes/20000000"))
            self.await_series('sluice_tunnels{agent="coder-1"}', 0)
            found = scrape.series()
            if found["sluice_spliced_bytes_total"]:
                break
        self.assertGreater(found["sluice_spliced_bytes_total"], 0)
        self.assertLessEqual(
            found["sluice_spliced_bytes_total"],
            sum(value for name, value in found.items() if name.startswith("sluice_bytes_total")),
        )

    def test_what_cannot_be_connected_or_resolved_is_counted_by_kind(self):
        self.run_shared("curl", "-s", "https://none.wild.test:8443/")

        def failures():
            return {n: v for n, v in scrape.series().items() if v and re.match("sluice_(connect|resolver)_failures", n)}

        self.wait_until(failures, "nothing is counted")
        self.assertEqual(sum(failures().values()), 1, failures())


class Ends(MetricsCase):
    def ends(self):
        """{end: count} of coder-1, those that are not 0."""
        pattern = re.compile(r'sluice_agent_ends_total\{agent="coder-1",end="(\w+)"\}')
        found = ((pattern.fullmatch(name), value) for name, value in scrape.series().items())
        return {match[1]: value for match, value in found if match and value}

    def expect(self, end, status, *command, **keywords):
        before = self.ends()
        run = self.run_shared(*command, **keywords)
        self.assertEqual(run.status, status, run)
        self.expect_more(before, end)

    def events(self, kind):
        """The whole audit lines of such an event."""
        with open(self.audit) as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
        return [line for line in lines if line.get("event") == kind]

    def expect_more(self, before, end):
        wanted = {**before, end: before.get(end, 0) + 1}
        self.wait_until(lambda: self.ends() == wanted, f"not {wanted}, but {self.ends()}")

    def test_of_an_agent_are_counted_by_why(self):
        self.expect("succeeded", 0, "true")
        self.expect("failed", 3, "bash", "-c", "exit 3")
        self.expect("signal", 137, "bash", "-c", "kill -9 $$")
        self.expect("timeout", 124, "sleep", "300", options=["--timeout", "1s"])
        self.expect("not_started", 127, "no-such-program")
        before = self.ends()
        run = self.start(self.command(*self.line("bash", "-c", "echo up; exec sleep 300")))
        self.assertEqual(run.stdout.readline(), b"up\n")
        self.assertEqual(self.sluice("stop", "coder-1").status, 0)
        self.finish(run)
        self.expect_more(before, "stopped")
        before = self.ends()
        run = self.start(self.command(*self.line("bash", "-c", "echo up; exec sleep 300")))
        self.assertEqual(run.stdout.readline(), b"up\n")
        run.kill()
        self.finish(run)
        self.expect_more(before, "lost")
        self.assertEqual(scrape.series()['sluice_agent_starts_total{agent="coder-1"}'], 7)
        self.wait_until(lambda: len(self.events("agent_end")) == 7, "an end is not in the account")
        self.assertEqual(
            [(line["end"], line["exit_status"]) for line in self.events("agent_end")],
            [("succeeded", 0), ("failed", 3), ("signal", 137), ("timeout", 124), ("not_started", 127),
             ("stopped", 143), ("lost", None)],
        )  # fmt: skip

    def test_of_an_agent_at_its_memory_limit_is_counted_as_that(self):
        hog = "held = []\nwhile len(held) < 16: held.append(bytearray(b'x') * (16 << 20))"
        # Without control groups it is an rlimit of each process, which ends nobody: Python hears of it and fails.
        end, status = ("memory_limit", 137) if has_groups() else ("failed", 1)
        self.expect(end, status, world.PYTHON, "-c", hog, options=["--memory", "64MiB"])

    def failing_sluice(self, step, manner):
        """What a sluice prints whose sandbox goes wrong at `step`, before its agent has begun."""
        command = self.command(*self.line("touch", f"{self.workspace}/started"))
        command[command.index(f"{world.BIN}/sluice")] = f"{world.BIN}/failing_sluice"
        self.environment |= {"SLUICE_TEST_STEP": step, "SLUICE_TEST_MANNER": manner}
        run = self.finish(self.start(command))
        self.assertEqual(run.status, 125, run)
        self.assertFalse(os.path.exists(f"{self.workspace}/started"), run)
        return run

    def test_of_an_agent_whose_sandbox_leaked_is_not_started_and_the_probe_says_so(self):
        leaked = 'sluice_containment_probes_total{result="leaked"}'
        self.expect("succeeded", 0, "true")
        self.assertEqual((scrape.series()["sluice_containment_probe_ok"], scrape.series()[leaked]), (1, 0))
        before = self.ends()
        run = self.failing_sluice("self-check", "leak")
        self.assertRegex(run.err, r"the probe 'descriptors' reached descriptor \d")
        self.expect_more(before, "not_started")
        self.assertEqual((scrape.series()["sluice_containment_probe_ok"], scrape.series()[leaked]), (0, 1))
        # A step that failed has found nothing out, and sets nothing right.
        before = self.ends()
        self.failing_sluice("filter", "fail")
        self.expect_more(before, "not_started")
        self.assertEqual((scrape.series()["sluice_containment_probe_ok"], scrape.series()[leaked]), (0, 1))
        self.wait_until(lambda: self.events("probe"), "it is not in the account")
        lines = self.events("probe")
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(json.dumps(lines[0]), r"the probe 'descriptors' reached descriptor \d")

    def test_programs_are_counted_and_each_run_says_that_its_containment_held(self):
        self.run_shared("bash", "-c", "/bin/true; /bin/true; exit 0")
        self.await_series('sluice_containment_probes_total{result="held"}', 1)
        self.await_series('sluice_execs_total{agent="coder-1"}', 3)


class OlderSluiced(SharedCase):
    """One that hangs up on whoever says what it does not know, as sluiced always has."""

    def setUp(self):
        super().setUp()
        self.start_sluiced()
        os.rename(SOCKET, SOCKET + ".real")
        self.front = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.front.bind(SOCKET)
        os.chmod(SOCKET, 0o666)
        self.front.listen(4)
        self.addCleanup(os.unlink, SOCKET + ".real")
        self.addCleanup(self.front.close)
        self.refused = []
        threading.Thread(target=self.relay, daemon=True).start()

    def relay(self):
        while True:
            try:
                peer, _ = self.front.accept()
            except OSError:
                return
            real = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            real.connect(SOCKET + ".real")
            for ends in ((peer, real), (real, peer)):
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, sink):
        while True:
            try:
                packet, fds, _, _ = socket.recv_fds(source, 1 << 17, 32)
                kind = re.search(rb'"kind":"(agent_end|probe)"', packet)
                if kind:
                    self.refused.append(kind[1].decode())
                    source.send(b'{"v":1,"ok":false,"error":"key \'kind\' has an unknown event"}')
                    packet = b""
                if packet:
                    socket.send_fds(sink, [packet], fds)
            except OSError:
                packet, fds = b"", []
            for fd in fds:
                os.close(fd)
            if not packet:
                for end in (source, sink):
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
                return

    def test_a_run_ends_as_it_would_and_its_totals_are_told(self):
        run = self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", " ".join(curl("https://allowed.test/")) + "; exit 3")
        self.assertEqual(run.status, 3, run)
        self.assertIn("allowed 1, blocked 0", run.err)
        self.assertNotIn("unknown event", run.err)
        self.assertIn("probe", self.refused)


class Agreement(SharedCase):
    """Whatever clients do, the audit log and the metrics say the same of it."""

    FLOOD = """
import concurrent.futures, socket
def ask(number):
    with socket.create_connection(("127.0.0.1", 3128), 60) as proxy:
        kind = number % 6
        host = ["allowed.test", "other.test", "10.0.0.1", "allowed.test", "evil.test", "x.wild.test"][kind]
        if kind == 3: said = b"GET http://allowed.test:81/ HTTP/1.1\\r\\nHost: allowed.test:81\\r\\n\\r\\n"
        elif kind == 4: said = b"NONSENSE\\r\\n\\r\\n"
        else: said = f"CONNECT {host}:443 HTTP/1.1\\r\\nHost: {host}:443\\r\\n\\r\\n".encode()
        proxy.sendall(said)
        proxy.recv(4096)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(ask, range(1500)))
"""

    def test_of_a_flood_to_the_last_request(self):
        self.start_sluiced()
        run = self.sluice("run", "--agent", "coder-1", "--", world.PYTHON, "-c", self.FLOOD)
        self.assertEqual(run.status, 0, run)
        ended = 'sluice_agent_ends_total{agent="coder-1",end="succeeded"}'
        self.wait_until(lambda: scrape.series()[ended] == 1, "no end")
        counted = collections.Counter()
        for name, value in scrape.series().items():
            match = re.fullmatch(r'sluice_decisions_total\{agent="(.*)",verdict="(\w+)",reason="(\w+)"\}', name)
            if match and value:
                counted[match.groups()] = int(value)
        self.assertEqual(sum(counted.values()), 1500, counted)
        self.wait_until(lambda: self.written()[1] == 1500, f"{self.written()} and {counted}")
        lines, _ = self.written()
        for key, count in lines.items():
            self.assertLessEqual(count, counted[key], key)
        denied = {key: count for key, count in counted.items() if key[1] == "deny"}
        self.assertEqual(
            {key: count for key, count in lines.items() if key[1] != "deny"},
            {key: count for key, count in counted.items() if key not in denied},
        )
        found = scrape.series()
        self.assertEqual(found["sluice_audit_dropped_total"], 0)

    def written(self):
        """(lines by agent, verdict and reason; those and what was left out together)"""
        lines, left_out = collections.Counter(), 0
        with open(self.audit) as file:
            for line in (json.loads(whole) for whole in file if whole.endswith("\n")):
                left_out += line["count"] if line.get("event") == "denials_left_out" else 0
                if "verdict" in line:
                    lines[line["agent"], line["verdict"], line["reason"]] += 1
        return lines, sum(lines.values()) + left_out
