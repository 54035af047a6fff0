"""The promises of the README that no other file quotes, each by the shortest test that fails without it."""

import os
import shutil
import unittest

import agent
import world

TWO_AGENTS = """
version: 1
agents:
  coder-1:
    allow:
      - host: allowed.test
  coder-2:
    allow:
      - host: other.test
"""


class Promises(agent.Case):
    def test_no_interface_no_escape(self):
        """No interface, no escape."""
        script = (
            "import socket\n"
            "print(socket.if_nameindex())\n"
            "for address in ('25.10.0.11', '8.8.8.8', '10.0.0.1', '192.168.1.1', '224.0.0.1'):\n"
            "    for port in (22, 80, 443, 4444):\n"
            "        s = socket.socket(); s.settimeout(3)\n"
            "        try:\n"
            "            s.connect((address, port)); s.send(b'x'); s.recv(1)\n"
            "        except OSError:\n"
            "            pass\n"
        )
        run = self.run_agent(world.PYTHON, "-c", script)
        self.assertEqual(run.out.strip(), "[(1, 'lo')]")
        self.assert_nothing_left()

    def test_every_port_and_protocol_is_captured_or_refused_at_once(self):
        """Every port and protocol is captured or refused, at once."""
        script = (
            "import socket, time\n"
            "began = time.monotonic()\n"
            "for port in (1, 53535, 65535):\n"
            "    for family, kind in ((socket.AF_INET, '25.10.0.11'), (socket.AF_INET6, '2a0e:1::11')):\n"
            "        u = socket.socket(family, socket.SOCK_DGRAM); u.connect((kind, port)); u.send(b'x')\n"
            "        try:\n"
            "            u.send(b'x'); print('sent')\n"
            "        except ConnectionRefusedError:\n"
            "            pass\n"
            "        t = socket.socket(family); t.settimeout(60)\n"
            "        try:\n"
            "            t.connect((kind, port)); t.send(b'x'); print('open' if t.recv(1) else 'closed')\n"
            "        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):\n"
            "            pass\n"
            "print('slow' if time.monotonic() - began > 40 else 'done')\n"
        )
        run = self.run_agent(world.PYTHON, "-c", script)
        self.assertEqual(run.out.strip(), "done", run)
        self.assert_nothing_left()

    def test_what_enforces_lies_outside_the_agents_reach(self):
        """What enforces lies outside the agent's reach."""
        run = self.shell(
            """
            grep -l sluiced /proc/[0-9]*/comm 2>/dev/null && echo sees the proxy
            kill -9 1 2>/dev/null; kill -TERM 1 2>/dev/null
            ip link add x0 type dummy 2>/dev/null && echo made a link
            ip route flush table local 2>/dev/null && echo flushed the routes
            nft flush ruleset 2>/dev/null && echo flushed the rules
            mount -t tmpfs x /tmp 2>/dev/null && echo mounted
            curl -sS --cacert ca.pem https://allowed.test/
            """
        )
        self.assertIn('"origin": "allowed.test"', run.out, "and it still serves")
        self.assertEqual(len(run.out.strip().splitlines()), 1, run)


class Identity(agent.Case):
    policy = TWO_AGENTS

    def test_identity_is_the_socket(self):
        """Identity is the socket."""
        claims = " ".join(
            f"-H '{claim}'"
            for claim in (
                "X-Sluice-Agent: coder-2",
                "X-Forwarded-For: 25.10.0.1",
                "Proxy-Authorization: Basic Y29kZXItMjpwdw==",
                "Via: 1.1 coder-2",
            )
        )
        run = self.shell(f"curl -sS --proxy-user coder-2:pw {claims} http://other.test/")
        self.assertIn("(not_listed)", run.out)
        self.assertIn("agent 'coder-1'", run.out)
        self.assert_nothing_left()


class BeforeExec(agent.Case):
    def start_with(self, sluiced):
        """`sluice run` from a directory of its own whose sluiced is `sluiced`."""
        folder = f"{self.home}/bin-{os.path.basename(self.workspace)}"
        os.makedirs(folder, mode=0o755)
        shutil.copy(f"{world.BIN}/sluice", folder)
        if sluiced is not None:
            self.write(f"{folder}/sluiced", sluiced)
            os.chmod(f"{folder}/sluiced", 0o755)
        line = [f"{folder}/sluice", *self.run_line("touch", f"{self.workspace}/started")]
        run = self.finish(self.start(line if agent.is_root() else agent.as_ordinary(*line)))
        shutil.rmtree(folder)
        return run

    def test_a_step_that_fails_means_that_the_agent_does_not_start(self):
        """Prove containment before exec."""
        for sluiced in (None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\nexec sleep 1\n", "no program\n"):
            with self.subTest(sluiced=sluiced):
                run = self.start_with(sluiced)
                self.assertEqual(run.status, 125, run)
                self.assertIn("error: ", run.err)
                self.assertFalse(os.path.exists(f"{self.workspace}/started"), run)

    def test_the_hosts_uid_0_is_never_mapped(self):
        """The host's uid 0 is never mapped."""
        script = "echo $$; : > ready; for i in $(seq 1200); do [ -e done ] && exit 0; sleep 0.1; done"
        process = self.start(self.command(*self.run_line("bash", "-c", script)))
        for _ in range(1200):
            if os.path.exists(f"{self.workspace}/ready"):
                break
            agent.time.sleep(0.05)
        mine = [pid for pid, line in world.processes().items() if line.startswith("bash -c echo $$")]
        ids = []
        for pid in mine:
            try:
                with open(f"/proc/{pid}/status") as file:
                    ids += [line.split()[1:] for line in file if line.startswith(("Uid:", "Gid:"))]
            except (FileNotFoundError, ProcessLookupError):
                continue  # a child of its on its way to be another program, which has ended
        self.write(f"{self.workspace}/done", "")
        self.finish(process)
        self.assertTrue(ids, "the agent was found")
        if os.environ["SLUICE_E2E_WORLD"] == "root":
            self.assertNotIn("0", [number for line in ids for number in line])


if __name__ == "__main__":
    unittest.main()
