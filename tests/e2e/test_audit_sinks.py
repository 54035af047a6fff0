"""Audit lines arrive where the configuration says, whole, whatever becomes of the place; docs/audit.md."""

import collections
import json
import os
import signal
import socket
import threading

import jsonschema
import scrape
import world
from agent import PATIENT, curl
from shared import SharedCase

JOURNAL = "/run/systemd/journal/socket"
# Through every entrance: CONNECT, plain HTTP, SOCKS5, captured by the route, DNS; and a program.
EVERY_WAY = "; ".join(
    [
        " ".join(curl("https://allowed.test/")),
        "curl -s http://other.test/",
        " ".join(curl("-x", "socks5h://127.0.0.1:3128", "https://allowed.test/")),
        " ".join(curl("--noproxy", "'*'", "https://allowed.test/")),
        "curl -s --noproxy '*' https://other.test/",
        "printf 'NONSENSE\\r\\n\\r\\n' > /dev/tcp/127.0.0.1/3128",
        "/bin/true 'a\x1b[2J'",
        "exit 3",
    ]
)


class SinkCase(SharedCase):
    def start_writing_to(self, target):
        self.audit = json.dumps(target)
        return self.start_sluiced()

    def use(self, script=EVERY_WAY, status=3, timeout=PATIENT):
        run = self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", script, timeout=timeout)
        self.assertEqual(run.status, status, run)

    def lines_of(self, path):
        with open(path) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def await_end_in(self, path):
        self.wait_until(lambda: "agent_end" in str(self.lines_of(path)[-1:]), "no end")

    def assert_is_whole(self, lines):
        """Nothing is missing of one run."""
        kinds = {line["via"] for line in lines}
        self.assertEqual(kinds, {"connect", "http", "socks5", "transparent", "dns", "exec", "event"}, lines)
        self.assertEqual(lines[-1].get("end"), "failed", lines[-1])
        self.wait_until(lambda: scrape.series()["sluice_audit_lines_total"] == len(lines), "not all were counted")
        self.assertEqual(scrape.series()["sluice_audit_dropped_total"], 0)


class Schema(SinkCase):
    def validator(self):
        with open(f"{world.DEPLOY}/audit.schema.json") as file:
            schema = json.load(file)
        jsonschema.Draft7Validator.check_schema(schema)
        return jsonschema.Draft7Validator(schema)

    def test_fits_each_line_of_a_run_that_used_every_entrance(self):
        path = f"{self.folder}/audit.jsonl"
        self.start_writing_to(path)
        self.use()
        self.await_end_in(path)
        lines = self.lines_of(path)
        self.assert_is_whole(lines)
        validator = self.validator()
        for line in lines:
            with self.subTest(line):
                validator.validate(line)

    def test_fits_no_line_that_lacks_a_key_or_has_one_too_many(self):
        path = f"{self.folder}/audit.jsonl"
        self.start_writing_to(path)
        self.use()
        self.await_end_in(path)
        validator = self.validator()
        may_lack = {"method", "path", "address", "sni", "argv_cut"}
        for line in self.lines_of(path):
            self.assertFalse(validator.is_valid({**line, "more": 1}), line)
            for key in set(line) - may_lack:
                less = {name: value for name, value in line.items() if name != key}
                self.assertFalse(validator.is_valid(less), (key, line))


class Files(SinkCase):
    def test_a_file_that_logrotate_renames_again_and_again_loses_no_line(self):
        path = f"{self.folder}/audit.jsonl"
        self.start_writing_to(path)
        stop, rotated = threading.Event(), []

        def rotate():
            while not stop.wait(0.05):
                if os.path.exists(path) and os.path.getsize(path):
                    rotated.append(f"{path}.{len(rotated)}")
                    os.rename(path, rotated[-1])

        rotating = threading.Thread(target=rotate)
        rotating.start()
        self.addCleanup(stop.set)
        self.use("for i in {1..150}; do curl -s http://allowed.test/ >/dev/null; /bin/true; done", status=0)
        self.wait_until(lambda: scrape.series()['sluice_agent_ends_total{agent="coder-1",end="succeeded"}'], "no end")
        stop.set()
        rotating.join()

        def written():
            """How many lines of each kind; the end may be counted before what came earlier is written."""
            files = [name for name in [*rotated, path] if os.path.exists(name)]
            return collections.Counter(line["via"] for name in files for line in self.lines_of(name))

        self.wait_until(lambda: (written()["http"], written()["exec"]) == (150, 301), "lines are missing")
        self.assertGreater(len(rotated), 2)
        self.wait_until(
            lambda: written().total() == scrape.series()["sluice_audit_lines_total"], "lines are not counted"
        )
        self.assertEqual(scrape.series()["sluice_audit_dropped_total"], 0)


class Sockets(SinkCase):
    def listen(self, path, kind):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            os.unlink(path)
        shipper = socket.socket(socket.AF_UNIX, kind)
        shipper.settimeout(60)
        shipper.bind(path)
        os.chmod(path, 0o666)
        self.addCleanup(shipper.close)
        return shipper

    def test_a_shipper_on_a_stream_socket_gets_every_line_also_those_of_before_it_came(self):
        path = f"{self.folder}/shipper.sock"
        self.start_writing_to(f"unix:{path}")
        self.use()
        shipper = self.listen(path, socket.SOCK_STREAM)
        shipper.listen()
        connection, _ = shipper.accept()
        connection.settimeout(60)
        text = b""
        while b'"agent_end"' not in text or not text.endswith(b"\n"):
            text += connection.recv(65536)
        self.assert_is_whole([json.loads(line) for line in text.splitlines()])

    def test_the_journal_gets_entries_with_fields_to_search_by(self):
        journal = self.listen(JOURNAL, socket.SOCK_DGRAM)
        self.start_writing_to("journald")
        self.use()
        lines = []
        while not lines or lines[-1].get("event") != "agent_end":
            entry = dict(field.split("=", 1) for field in journal.recv(1 << 20).decode().splitlines())
            line = json.loads(entry["MESSAGE"])
            self.assertEqual(entry["SYSLOG_IDENTIFIER"], "sluiced")
            self.assertEqual(entry["SLUICE_AGENT"], line["agent"])
            self.assertEqual(entry.get("SLUICE_VERDICT"), line.get("verdict"))
            self.assertEqual(entry.get("SLUICE_REASON"), line.get("reason"))
            self.assertEqual(entry["PRIORITY"], "4" if line.get("verdict") == "deny" else "6")
            lines.append(line)
        self.assert_is_whole(lines)

    def test_a_shipper_that_reads_nothing_keeps_no_agent_waiting_and_what_is_lost_is_told(self):
        path = f"{self.folder}/shipper.sock"
        shipper = self.listen(path, socket.SOCK_STREAM)
        shipper.listen()
        self.start_writing_to(f"unix:{path}")
        # An agent may fill 8 MiB of the queue.
        script = f"for i in {{1..1300}}; do /bin/true {'x' * 3800}; done"
        for _ in range(4):
            self.use(script, status=0, timeout=300)
            if scrape.series()["sluice_audit_dropped_total"]:
                break
        self.assertGreater(scrape.series()["sluice_audit_dropped_total"], 0, "the queue was never full")
        connection, _ = shipper.accept()
        connection.settimeout(60)
        text, told = b"", 0
        while not told or told != scrape.series()["sluice_audit_dropped_total"]:
            text += connection.recv(1 << 20)
            whole = [json.loads(line) for line in text.splitlines() if line.endswith(b"}")]
            told = sum(line["count"] for line in whole if line.get("event") == "lines_dropped")


class Stdout(SinkCase):
    def test_lines_go_to_stdout_and_the_last_ones_come_before_sluiced_ends(self):
        self.audit = "stdout"
        read, write = os.pipe()
        saved = os.dup(1)
        os.dup2(write, 1)
        try:
            daemon = self.start_sluiced()
        finally:
            os.dup2(saved, 1)
            os.close(saved)
            os.close(write)
        self.use("curl -s http://other.test/; exit 3")
        daemon.send_signal(signal.SIGTERM)
        with os.fdopen(read) as out:
            lines = [json.loads(line) for line in out]
        self.assertEqual([line["via"] for line in lines if line["via"] != "exec"], ["http", "event"])
        self.assertEqual(lines[-1]["end"], "failed")
