"""A sluiced that is killed a hundred times under load: no agent is restarted, none gets out, none becomes another."""

import json
import os
import subprocess
import threading
import time
import unittest

import world
from agent import is_root
from networks import Container, NetworkCase

DEATHS = 100
TIME = 80  # s for all of them; with less machine, half of them
AGENTS = ("coder-a", "coder-b", "coder-c")

# Each agent may reach one host, which no other may: an answer says as whom it was served.
POLICY = """
version: 1
agents:
  coder-a:
    allow: [{host: git.example.com}]
  coder-b:
    allow: [{host: registry.example.com}]
  coder-c:
    allow: [{host: a.cdn.example.net}]
"""


HOSTS = ("git.example.com", "registry.example.com", "a.cdn.example.net")


def own_host(agent):
    return HOSTS[AGENTS.index(agent)]


def anothers_host(agent):
    return own_host(AGENTS[AGENTS.index(agent) - 1])


# Fetches for ever, each with a time limit; says on stdout what came of it. -f: a refusal is no success.
LOAD = (
    "while :; do curl -sf -o /dev/null -m 10 --cacert {ca} https://{own}/ && echo served || echo not; "
    "curl -sf -o /dev/null -m 10 -x http://127.0.0.1:3128 http://{other}/ && echo another; "
    "curl -sf -o /dev/null -m 10 --cacert {ca} https://{other}/ && echo another; "
    "curl -s -o /dev/null -m 5 http://203.0.113.9:8080/; sleep 0.02; done"
)


@unittest.skipUnless("SLUICE_E2E_IDENTITY" in os.environ and is_root(), "needs root")
class ProxyDeath(NetworkCase):
    policy = POLICY

    def start_quickly(self):
        """A sluiced; its predecessor is dead."""
        command = [f"{world.BIN}/sluiced", "--config", f"{self.folder}/sluiced.conf"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def load(self, agent, *prefix):
        script = LOAD.format(ca=world.CA, own=own_host(agent), other=anothers_host(agent))
        process = subprocess.Popen(
            [*prefix, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        counts = {"served\n": 0, "not\n": 0, "another\n": 0}

        def read():
            for line in process.stdout:
                counts[line] += 1

        threading.Thread(target=read, daemon=True).start()
        return counts

    def test_agents_go_on_without_a_restart_and_nothing_ever_leaks(self):
        daemon = self.start_sluiced()
        resident = self.in_background("supervise")
        for agent in AGENTS[:2]:
            self.netns("create", agent)
        container = Container(self, "filtered")
        attached = self.attach("--pid", str(container.process.pid), "--agent", AGENTS[2])
        enter = ["nsenter", "-t", str(container.process.pid), "-n"]
        counts = {agent: self.load(agent, "ip", "netns", "exec", agent) for agent in AGENTS[:2]}
        counts[AGENTS[2]] = self.load(AGENTS[2], *enter)
        self.wait_until(lambda: all(count["served\n"] for count in counts.values()), "no load")

        end = time.monotonic() + TIME
        deaths = 0
        while deaths < DEATHS // 2 or (deaths < DEATHS and time.monotonic() < end):
            daemon.kill()
            daemon.wait(60)
            if deaths % 3 == 0:
                time.sleep(0.05)  # sometimes it is away for a while
            daemon = self.start_quickly()
            self.addCleanup(daemon.wait)
            self.addCleanup(daemon.kill)
            deaths += 1
            if deaths % 5 == 0:  # sometimes everybody is served before the next death
                served = {agent: count["served\n"] for agent, count in counts.items()}
                self.wait_until(
                    lambda served=served: all(counts[agent]["served\n"] > served[agent] for agent in AGENTS),
                    f"after {deaths} deaths an agent is served no more",
                )
            else:
                time.sleep(0.1)
        self.assertIsNone(attached.poll())
        self.assertIsNone(resident.poll())
        self.wait_until(lambda: self.metric("sluice_agents") == 3, "not every agent is registered")
        served = {agent: count["served\n"] for agent, count in counts.items()}
        self.wait_until(
            lambda: all(counts[agent]["served\n"] > served[agent] + 1 for agent in AGENTS),
            "after the last death an agent is served no more",
        )
        for agent in AGENTS:
            self.wait_until(lambda agent=agent: self.audited(agent), f"{agent} has no line of its own")
            self.assertEqual(counts[agent]["another\n"], 0, f"{agent} was served as another agent")
        self.assertEqual([event["to"] for event in self.outside.events("packet") if event["port"] == 8080], [])

    def audited(self, agent):
        """Whether the audit file tells of this agent at its own host; never at another's, as allowed."""
        found = False
        with open(self.audit, errors="replace") as file:
            for line in file.read().split("\n"):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # of a sluiced that was killed while it wrote
                if entry["agent"] == agent and entry["verdict"] == "allow":
                    self.assertEqual(entry["host"], own_host(agent))
                    found = True
        return found


if __name__ == "__main__":
    unittest.main()
