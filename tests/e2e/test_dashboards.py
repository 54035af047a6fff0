"""Every query of the dashboards and of the rules, asked of a real Prometheus that scrapes a real sluiced with traffic."""

import glob
import json
import os
import re
import subprocess

import yaml

import world
from agent import curl
from prometheus import RULES, SLUICED, Prometheus
from shared import SharedCase

POLICY = """
version: 1
agents:
  coder-1:
    allow:
      - host: allowed.test
      - host: nothing.test          # its server is the outside's, which knows no such name
      - host: ssh.test
        ports: [22]
        tls: "off"
    limits: {upload: 1TiB/day, download: 1TiB/day}
"""

# Of what may have no sample in a healthy world, and why.
MAY_BE_EMPTY = {
    "ALERTS": "no alert fires here; test_incident has one that does",
}

# What one round of the agent does: every kind of refusal, answers, bytes, and a tunnel that stays.
ROUNDS = f"""
exec 3<>/dev/tcp/ssh.test/22
echo up
while :; do
  {" ".join(curl("-o", "/dev/null", "https://allowed.test/bytes/100000"))}
  curl -s -o /dev/null -m 60 http://allowed.test/
  curl -s -o /dev/null -m 60 http://other.test/
  curl -s -o /dev/null -m 60 http://allowed.test:8081/
  curl -s -o /dev/null -m 60 http://10.1.2.3/
  curl -s -o /dev/null -m 60 http://nothing.test/
  (unset http_proxy HTTP_PROXY ALL_PROXY all_proxy; curl -s -m 60 http://other.test/; curl -s -m 60 http://allowed.test:9/)
  printf x > /dev/udp/25.10.0.11/4000
  printf 'not http\\r\\n\\r\\n' > /dev/tcp/127.0.0.1/3128
  sleep 0.2
done 2> /dev/null
"""

SELECTOR = re.compile(r"\b(?P<name>(?:[a-z_]+:)?(?:sluice|process)_[a-z0-9_:]+|up|ALERTS)\b(?P<labels>\{[^}]*\})?")
ONE_OF = re.compile(r'(?P<label>\w+)=~"(?P<values>[a-z_|]+)"')


def targets():
    """(place, query) of every dashboard's panels, annotations and variables, with their variables filled in."""
    for path in sorted(glob.glob(f"{world.DEPLOY}/grafana/*.json")):
        with open(path) as file:
            board = json.load(file)
        name = os.path.basename(path)
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{name}: {panel['title']}", filled(target["expr"])
        for annotation in board["annotations"]["list"]:
            yield f"{name}: annotations", filled(annotation["expr"])
        for variable in board["templating"]["list"]:
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", ""))
            if asked:
                yield f"{name}: ${variable['name']}", f"count by ({asked[2]}) ({filled(asked[1])})"


def filled(query):
    for variable, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$agent", "coder-1")):
        query = query.replace(variable, value)
    return query


def rules():
    """(place, query) of every rule."""
    for name in RULES:
        with open(f"{world.DEPLOY}/prometheus/{name}") as file:
            for group in yaml.safe_load(file)["groups"]:
                for rule in group["rules"]:
                    yield f"{name}: {rule.get('alert') or rule['record']}", rule["expr"]


def metrics(query):
    return {match["name"] for match in SELECTOR.finditer(query)}


class Dashboards(SharedCase):
    """The queries are asked while the agent is at work."""

    policy = POLICY
    admin_address = SLUICED

    def setUp(self):
        super().setUp()
        self.start_sluiced()
        self.prometheus = Prometheus(self)
        self.prometheus.start()
        line = ["run", "--agent", "coder-1", "--", "bash", "-c", ROUNDS]
        self.agent = self.start(self.command(*line))
        self.addCleanup(self.agent.communicate)
        self.addCleanup(self.agent.kill)
        self.assertEqual(self.agent.stdout.readline(), b"up\n")
        for seen in ('sluice_tunnels{agent="coder-1"} > 0', "agent_direction:sluice_bytes:rate5m > 0",
                     'count(agent_kind:sluice_refused:increase5m{agent="coder-1"} >= 5) == 5'):  # fmt: skip
            self.wait_until(lambda: self.prometheus.query(seen), seen, 120)

    def test_every_query_and_every_name_in_the_rules_is_answered_by_what_sluiced_exports(self):
        """One world for all of it."""
        self.dashboards_have_an_answer()
        self.series_of_rules_exist()
        self.reasons_are_sluiceds()
        self.promtool_finds_no_fault()

    def dashboards_have_an_answer(self):
        asked = 0
        for place, query in targets():
            with self.subTest(place, query=query):
                if metrics(query) & MAY_BE_EMPTY.keys():
                    self.prometheus.query(query)
                else:
                    self.assertTrue(self.prometheus.has(query), "no sample")
                asked += 1
        self.assertGreater(asked, 50)

    def series_of_rules_exist(self):
        """An alert is silent as a rule; what it looks at must be there, each reason by its name."""
        asked = set()
        for place, query in [*rules(), *targets()]:
            self.prometheus.query(query)
            for match in SELECTOR.finditer(query):
                if match["name"] in MAY_BE_EMPTY:
                    continue
                for selector in spelled_out(match[0]):
                    if match["name"] == "agent_reason:sluice_refused:increase5m":  # of what was refused only
                        selector = match["name"]
                    if selector in asked:
                        continue
                    asked.add(selector)
                    with self.subTest(place, selector=selector):
                        self.assertTrue(self.prometheus.has(f"count({selector})"), "no such series")
        self.assertGreater(len(asked), 40)

    def reasons_are_sluiceds(self):
        known = {labels["reason"] for labels, _ in self.prometheus.samples("count by (reason) (sluice_decisions_total)")}
        named = set()
        for _, query in [*rules(), *targets()]:
            for values in re.findall(r'\breason=~?"([a-z_|]+)"', query):
                named |= set(values.split("|"))
        self.assertGreater(len(named), 20)
        self.assertEqual(named - known, set())

    def promtool_finds_no_fault(self):
        page = subprocess.run(["curl", "-sS", f"http://{SLUICED}/metrics"], capture_output=True, timeout=60)
        checked = subprocess.run(
            [f"{world.PROMETHEUS}/promtool", "check", "metrics"],
            input=page.stdout, capture_output=True, timeout=60,
        )  # fmt: skip
        self.assertIn(b"sluice_build_info", page.stdout)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, b"", b""))


def spelled_out(selector):
    """One selector for each value of a `label=~"one|other"`: each must exist by itself."""
    several = ONE_OF.search(selector)
    if not several:
        return [selector]
    before, after = selector[: several.start()], selector[several.end() :]
    return [f'{before}{several["label"]}="{value}"{after}' for value in several["values"].split("|")]
