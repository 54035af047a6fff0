"""A shared sluiced takes an edited policy: what it no longer allows is cut, a broken edit changes nothing."""

import json
import os
import signal
import socket
import subprocess

import world
from agent import curl, decisions, is_root
from shared import FOLDER, SharedCase

# Opens the ssh host's port by its synthetic address, says so, answers each line by what the origin
# echoes, and tells how the connection ended.
TALK = """
import socket, sys, time
tunnel = socket.create_connection(("ssh.test", 22), 60)
print(tunnel.recv(100).decode().strip(), flush=True)
tunnel.settimeout(60)
try:
    for line in sys.stdin:
        tunnel.sendall(line.encode())
        print(tunnel.recv(100).decode().strip(), flush=True)
        if line == "wait\\n":
            print("closed", tunnel.recv(100), flush=True)
            break
except OSError as error:
    print(type(error).__name__, flush=True)
end = time.monotonic() + 60
while not (told := open("/run/sluice/denials").read()) and time.monotonic() < end:
    time.sleep(0.05)
print(told, flush=True)
"""


class Reload(SharedCase):
    admin_address = "127.0.0.1:9915"

    def get(self, path, address=f"{FOLDER}/admin.sock"):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with socket.socket(family) as client:
            client.settimeout(60)
            client.connect(address)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def has_metric(self, line):
        return f"\n{line}\n" in self.get("/metrics")

    def policy_state(self):
        return json.loads(self.get("/api/v1/policy").partition("\r\n\r\n")[2])

    def audit_lines(self, host):
        return [line for line in decisions(self.audit) if line["host"] == host and line["via"] != "dns"]

    def edit(self, text):
        """As an editor does: a new file, renamed over the old one."""
        os.rename(self.write(self.policy_file + ".new", text), self.policy_file)

    def start_talk(self):
        agent = self.start(
            self.command("run", "--agent", "coder-1", "--", world.PYTHON, "-c", TALK), subprocess.PIPE
        )
        self.addCleanup(agent.kill)
        self.assertEqual(agent.stdout.readline(), b"SSH-2.0-origin\n")
        return agent

    def talk(self, agent, line):
        agent.stdin.write(line)
        agent.stdin.flush()
        return agent.stdout.readline()

    def test_a_tunnel_that_the_edited_policy_denies_is_cut_and_the_agent_is_told(self):
        self.start_sluiced()
        agent = self.start_talk()
        self.assertEqual(self.talk(agent, b"wait\n"), b"wait\n")
        self.assertTrue(self.has_metric('sluice_policy_reloads_total{result="success"} 0'))
        before = self.policy_state()
        self.edit('version: 1\nagents:\n  "coder-*":\n    allow: [{host: allowed.test}]\n')
        run = self.finish(agent)
        self.assertEqual(run.status, 0, run)
        self.assertIn("ConnectionResetError", run.out, run)
        sentence = "no longer allows ssh.test:22 to agent 'coder-1' (policy_changed)"
        self.assertIn(sentence, run.out, "in /run/sluice/denials")
        self.assertIn(sentence, run.err, run)
        self.wait_until(lambda: self.audit_lines("ssh.test"), "no audit line")
        (line,) = self.audit_lines("ssh.test")
        self.assertEqual((line["verdict"], line["reason"]), ("deny", "policy_changed"), line)
        self.assertEqual((line["bytes_up"], line["bytes_down"]), (5, 21), line)
        for metric in (
            'sluice_policy_reloads_total{result="success"} 1',
            'sluice_policy_reloads_total{result="failure"} 0',
            "sluice_policy_last_reload_successful 1",
            "sluice_policy_rules 1",
            'sluice_tunnel_ends_total{end="policy_changed"} 1',
            'sluice_decisions_total{agent="coder-1",verdict="deny",reason="policy_changed"} 1',
        ):
            self.wait_until(lambda metric=metric: self.has_metric(metric), metric)
        after = self.policy_state()
        self.assertEqual((before["agents"], after["agents"]), (["coder-1"], ["coder-*"]))
        self.assertEqual((before["rules"], after["rules"]), (3, 1))
        self.assertNotEqual(before["digest"], after["digest"])
        self.assertTrue(after["last_reload"]["ok"])
        run = self.sluice("run", "--agent", "coder-1", "--", *curl("https://allowed.test/"))
        self.assertIn('"origin": "allowed.test"', run.out, run)

    def test_a_broken_edit_changes_nothing_and_is_told(self):
        daemon = self.start_sluiced()
        agent = self.start_talk()
        self.assertEqual(self.talk(agent, b"one\n"), b"one\n")
        before = self.policy_state()
        self.edit("version: 1\nagnets: {}\n")
        failure = 'sluice_policy_reloads_total{result="failure"} 1'
        self.wait_until(lambda: self.has_metric(failure), "the broken file is not counted")
        self.wait_until(lambda: self.has_metric("sluice_policy_last_reload_successful 0"), "it is not told")
        self.assertTrue(self.has_metric("sluice_policy_rules 3"))
        state = self.policy_state()
        self.assertEqual(state["digest"], before["digest"])
        self.assertEqual(state["loaded_at"], before["loaded_at"])
        self.assertFalse(state["last_reload"]["ok"])
        error = state["last_reload"]["errors"][0]
        self.assertEqual((error["file"], error["line"], error["column"]), ("my.yaml", 2, 1), error)
        self.assertIn("agnets", error["message"])
        # A wish tells it again, and changes as little.
        daemon.send_signal(signal.SIGHUP)
        failure = 'sluice_policy_reloads_total{result="failure"} 2'
        self.wait_until(lambda: self.has_metric(failure), "SIGHUP reads nothing")
        self.assertEqual(self.talk(agent, b"two\n"), b"two\n")
        self.edit("version: 1\nagents: {coder-1: {allow: [{host: ssh.test, ports: [22], tls: 'off'}]}}\n")
        success = 'sluice_policy_reloads_total{result="success"} 1'
        self.wait_until(lambda: self.has_metric(success), "the mended file is not taken")
        self.assertEqual(self.talk(agent, b"three\n"), b"three\n", "still allowed, still there")
        run = self.finish(agent)
        self.assertNotIn("policy_changed", run.out, run)
        daemon.kill()
        log = daemon.stderr.read().decode()
        self.assertRegex(log, r"(?m)^sluiced: error: \S*my\.yaml:2:1: (?!error: )")
        self.assertIn("the policy was not reloaded and stays as it was", log)

    def test_the_address_for_everybody_tells_nothing_of_the_policy(self):
        self.start_sluiced()
        everybody = ("127.0.0.1", 9915)
        self.assertIn(" 404 Not Found", self.get("/api/v1/policy", everybody))
        self.assertIn(" 200 OK", self.get("/readyz", everybody))

    def test_an_embedded_sluiced_tells_its_fixed_policy_and_takes_no_other(self):
        agent = self.start_agent("bash", "-c", "echo up; read line; curl -sS http://allowed.test/",
                                 stdin=subprocess.PIPE)  # fmt: skip
        self.addCleanup(agent.kill)
        self.assertEqual(agent.stdout.readline(), b"up\n")
        folder = "/run/sluice" if is_root() else f"{self.environment['XDG_RUNTIME_DIR']}/sluice"
        self.write(self.policy_file, "version: 1\nagents: {coder-1: {}}\n")
        answer = self.get("/api/v1/policy", f"{folder}/agents/coder-1.sock")
        state = json.loads(answer.partition("\r\n\r\n")[2])
        self.assertEqual((state["path"], state["agents"], state["rules"]), ("my.yaml", ["coder-1"], 3))
        self.assertTrue(state["last_reload"]["ok"])
        run = self.finish(agent, stdin=b"go\n")
        self.assertIn('"origin": "allowed.test"', run.out, run)
