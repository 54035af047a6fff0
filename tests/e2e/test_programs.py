"""Real programs, as people use them, inside the sandbox; and what an operator sees meanwhile."""

import os
import socket
import time
import unittest

import agent
from agent import NO_PROXY_VARIABLES, decisions


class Programs(agent.Case):
    def test_wget_works_through_the_proxy_and_without_it(self):
        line = "wget -q -T 60 --tries=1 --ca-certificate=ca.pem -O - https://allowed.test/w"
        for prefix in ("", NO_PROXY_VARIABLES):
            run = self.shell(prefix + line)
            self.assertEqual(run.json()["origin"], "allowed.test", run)

    def test_pythons_urllib_works_through_the_proxy_and_without_it(self):
        script = (
            "import urllib.request, ssl; "
            "print(urllib.request.urlopen('https://allowed.test/u', timeout=60, "
            "context=ssl.create_default_context(cafile='ca.pem')).read().decode())"
        )
        for prefix in ("", NO_PROXY_VARIABLES):
            run = self.shell(f'{prefix}{agent.world.PYTHON} -c "{script}"')
            self.assertEqual(run.json()["path"], "/u", run)

    def test_git_asks_an_allowed_forge_and_is_told_about_another(self):
        git = "GIT_TERMINAL_PROMPT=0 git -c http.sslCAInfo=ca.pem ls-remote "
        self.shell(git + "https://allowed.test/project.git", status=128)  # it is no repository
        asked = self.outside.wait_for("http", lambda event: "/project.git" in event.get("path", ""))
        self.assertIsNotNone(asked, self.outside.events("http"))
        run = self.shell(git + "https://other.test/project.git", status=128)
        self.assertIn("403", run.err)
        self.assertIn("(not_listed)", run.err)

    def test_ssh_reaches_an_allowed_host_and_port_by_name(self):
        run = self.shell(
            "timeout 60 ssh -v -o BatchMode=yes -o StrictHostKeyChecking=no ssh.test true; true"
        )
        self.assertRegex(run.err, r"remote software version \S*origin", run)

    def test_ping_is_refused_at_once(self):
        run = self.shell("timeout 100 ping -c 1 -W 90 25.10.0.11; echo status $?")
        self.assertLess(run.seconds, 60, run)
        self.assertNotIn("status 0", run.out)
        self.assert_nothing_left()


class Watching(agent.Case):
    """What an operator can ask about a run while it runs."""

    def admin(self, target):
        folder = "/run" if agent.is_root() else self.environment["XDG_RUNTIME_DIR"]
        path = f"{folder}/sluice/agents/coder-1.sock"
        end = time.monotonic() + 60
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(path)
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: sluice\r\n\r\n".encode())
            reply = b""
            while chunk := client.recv(65536):
                reply += chunk
        return reply.decode()

    def test_metrics_count_decisions_tunnels_and_bytes_by_agent(self):
        script = (
            "curl -sS -o /dev/null --cacert ca.pem https://allowed.test/; "
            "curl -sS -o /dev/null http://other.test/; "
            "exec 3<>/dev/tcp/ssh.test/22; head -1 <&3; : > ready; "
            "for i in $(seq 1200); do [ -e done ] && exit 0; sleep 0.1; done"
        )
        process = self.start(self.command(*self.run_line("bash", "-c", script)))
        end = time.monotonic() + 60
        while not os.path.exists(f"{self.workspace}/ready") and time.monotonic() < end:
            time.sleep(0.05)
        reply = ""
        while 'sluice_tunnels{agent="coder-1"} 1\n' not in reply and time.monotonic() < end + 60:
            reply = self.admin("/metrics")  # until the first one's tunnel is over
        health = self.admin("/healthz")
        self.write(f"{self.workspace}/done", "")
        run = self.finish(process)
        self.assertEqual(run.status, 0, run)
        self.assertTrue(health.startswith("HTTP/1.1 200 OK"), health)
        for line in (
            'sluice_decisions_total{agent="coder-1",verdict="allow",reason="listed"} ',
            'sluice_decisions_total{agent="coder-1",verdict="deny",reason="not_listed"} 1',
            'sluice_decisions_total{agent="coder-1",verdict="deny",reason="sni_mismatch"} 0',
            'sluice_tunnels{agent="coder-1"} 1',
            'sluice_bytes_total{agent="coder-1",direction="down"} ',
        ):
            self.assertIn(line, reply)
        self.assertNotIn("other.test", reply, "no host in a label")

    def test_audit_lines_are_json_and_agree_with_the_line_at_the_end(self):
        audit = f"{self.home}/audit-{os.getpid()}-{time.monotonic_ns()}.jsonl"
        run = self.shell(
            "curl -sS -o /dev/null --cacert ca.pem https://allowed.test/; "
            "for i in 1 2 3; do curl -sS -o /dev/null http://other.test/; done",
            options=("--audit", audit),
        )
        lines = decisions(audit)
        os.unlink(audit)
        allowed = sum(line["verdict"] == "allow" for line in lines)
        denied = sum(line["verdict"] == "deny" for line in lines)
        self.assertIn(f"allowed {allowed}, blocked {denied} ", run.err)
        self.assertEqual((allowed, denied), (1, 3), lines)


if __name__ == "__main__":
    unittest.main()
