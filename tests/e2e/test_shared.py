"""A sluiced that is running already serves `sluice run`, by its own policy alone."""

import os
import signal
import socket
import subprocess

from agent import curl
from shared import SOCKET, SharedCase


class SharedProxy(SharedCase):
    def without_policy(self, *command):
        return self.sluice("run", "--agent", "coder-1", "--", *command)

    def test_a_running_sluiced_is_used_and_decides(self):
        self.start_sluiced()
        script = " ".join(curl("https://allowed.test/")) + "; curl -sS http://other.test/"
        run = self.without_policy("bash", "-c", script)
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIn("not_listed", run.out, run)
        self.assertRegex(run.err, r"allowed 1, blocked 1", run)

    def test_a_policy_of_ones_own_needs_a_proxy_of_ones_own(self):
        self.start_sluiced()
        run = self.sluice(*self.run_line("true"))
        self.assertEqual(run.status, 125, run)
        self.assertIn("--proxy embedded", run.err)
        run = self.run_agent(*curl("https://allowed.test/"), options=["--proxy", "embedded"])
        self.assertIn('"origin": "allowed.test"', run.out, run)

    def test_a_socket_that_refuses_or_does_not_answer_is_125_and_never_a_silent_fall_back(self):
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        dead.bind(SOCKET)
        os.chmod(SOCKET, 0o777)
        for state in ("refuses", "does not answer"):
            with self.subTest(state):
                run = self.without_policy("touch", f"{self.workspace}/started")
                self.assertEqual(run.status, 125, run)
                self.assertIn("hint: ", run.err, run)
                self.assertFalse(os.path.exists(f"{self.workspace}/started"))
            dead.listen(4)
        dead.close()

    def test_an_agents_name_that_is_taken_is_125(self):
        self.start_sluiced()
        line = ["run", "--agent", "coder-1", "--", "bash", "-c", "echo up; sleep 300"]
        first = self.start(self.command(*line))
        self.addCleanup(first.communicate)
        self.addCleanup(first.kill)
        self.assertEqual(first.stdout.readline(), b"up\n")
        run = self.without_policy("true")
        self.assertEqual(run.status, 125, run)
        self.assertIn("coder-1", run.err)

    def test_a_shared_sluiced_that_is_started_again_serves_the_agents_that_are_running(self):
        daemon = self.start_sluiced()
        retry = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors"]
        fetches = [" ".join(curl(*more, "https://allowed.test/")) for more in ([], retry)]
        script = "; read line; sleep 2; ".join(fetches)
        agent = self.start(
            self.command("run", "--agent", "coder-1", "--", "bash", "-c", script), subprocess.PIPE
        )
        self.assertIn(b'"origin"', agent.stdout.readline())
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(60)
        self.start_sluiced()
        run = self.finish(agent, stdin=b"go\n")
        self.assertEqual(run.status, 0, run)
        self.assertIn('"origin": "allowed.test"', run.out, run)
