"""A real Prometheus for a test: scrapes the test's sluiced by the shipped configuration, and ends with the test."""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import world

ADDRESS = "127.0.0.1:9090"  # of a network namespace of the tests' own
SLUICED = "127.0.0.1:9915"
RULES = ("sluice.rules.yaml", "sluice.alerts.yaml")


def scaled(text, factor):
    """The text of a rule file with every window, offset and `for` shorter by `factor`."""

    def shorter(match):
        seconds = int(match["count"]) * {"s": 1, "m": 60}[match["unit"]]
        return f"{match['before']}{max(1, round(seconds / factor))}s"

    return re.sub(r"(?P<before>\[|offset |for: )(?P<count>\d+)(?P<unit>[sm])\b", shorter, text)


class Prometheus:
    """Runs in `case`'s folder. `factor`: how much shorter than shipped the rules' windows are."""

    def __init__(self, case, factor=1):
        self._case = case
        self._folder = f"{world.BASE}/prometheus-{os.path.basename(case.workspace)}"
        os.mkdir(self._folder)
        for name in RULES:
            with open(f"{world.DEPLOY}/prometheus/{name}") as file:
                self._write(name, scaled(file.read(), factor))
        self._process = None

    def _write(self, name, text):
        with open(f"{self._folder}/{name}", "w") as file:
            file.write(text)

    def start(self):
        program = f"{world.PROMETHEUS}/prometheus"
        self._case.assertTrue(os.access(program, os.X_OK), "no prometheus in SLUICE_PROMETHEUS")
        with open(f"{world.DEPLOY}/prometheus/prometheus.example.yaml") as file:
            shipped = file.read()
        self._case.assertIn(SLUICED, shipped)
        self._write("prometheus.yml", re.sub(r"(_interval:) +15s", r"\1 1s", shipped))
        command = [program, f"--config.file={self._folder}/prometheus.yml",
                   f"--storage.tsdb.path={self._folder}/data", f"--web.listen-address={ADDRESS}",
                   "--log.level=warn"]  # fmt: skip
        self._log = open(f"{self._folder}/log", "w")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        self._case.addCleanup(self.end)
        self._case.wait_until(self._ready, f"prometheus is not ready: {self._folder}/log")

    def end(self):
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _ready(self):
        if self._process.poll() is not None:
            with open(f"{self._folder}/log") as file:
                self._case.fail(f"prometheus ended: {file.read()}")
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}/-/ready", timeout=60):
                return True
        except OSError:
            return False

    def get(self, path, **parameters):
        """What /api/v1 answers; an answer of Prometheus's that says 'error' is a failure of the test."""
        url = f"http://{ADDRESS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            self._case.fail(f"{path} {parameters}: {error.read().decode()}")

    def query(self, expression):
        """The samples of an instant query: (labels, value)."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def samples(self, expression):
        """query(), once there is one; a scrape that came too late on a busy machine hides all until the next one."""
        end = time.monotonic() + 60
        while not (found := self.query(expression)) and time.monotonic() < end:
            time.sleep(0.3)
        return found

    def has(self, expression):
        """Whether a query has a sample."""
        return bool(self.samples(expression))

    def alerts(self):
        """The alerts that fire now, by name and agent, as Prometheus's API tells them."""
        firing = (alert for alert in self.get("alerts")["alerts"] if alert["state"] == "firing")
        return {(one["labels"]["alertname"], one["labels"].get("agent")): one for one in firing}
