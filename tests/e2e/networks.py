"""What the tests of agent networks share: sluice-netns, containers, and what may be left of both."""

import json
import os
import re
import signal
import subprocess

import world
from agent import PATIENT, as_ordinary, curl, is_root
from shared import FOLDER, SharedCase

NETNS = f"{world.BIN}/sluice-netns"
STATE = f"{FOLDER}/netns"
ALLOWED = "https://allowed.test/"
REFUSED = "http://other.test/"
ATTACH_ANYWAY = ("--despite", "vsock")  # where a test is about something else than AF_VSOCK

POLICY = """
version: 1
agents:
  "coder-*":
    allow: [{host: allowed.test}]
"""


class Container:
    """tests/e2e/container.py, running."""

    def __init__(self, case, kind):
        command = [world.PYTHON, "-B", f"{world.TESTS}/container.py", kind]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/mnt"
        )
        case.addCleanup(self.end)
        case.assertEqual(self.process.stdout.readline(), "up\n")

    def run(self, command):
        """The exit status and the output of a shell command inside."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def fetch(self, url):
        return self.run(" ".join(curl(url)).replace("ca.pem", world.CA))

    def ask_proxy(self, url):
        """By the proxy's address, which answers a refusal with its reason."""
        return self.run(f"curl -sS -m 60 -x http://127.0.0.1:3128 {url}")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class NetworkCase(SharedCase):
    policy = POLICY

    def setUp(self):
        super().setUp()
        self._mounts = set()
        self._mounts = set(self.mounts())
        self.addCleanup(self.remove_networks)

    def remove_networks(self):
        """Whatever a failed test has left in /run/netns."""
        if not os.path.isdir("/run/netns"):
            return
        for name in os.listdir("/run/netns"):
            subprocess.run(["umount", "-l", f"/run/netns/{name}"], capture_output=True)
            os.unlink(f"/run/netns/{name}")
        for folder in (STATE,):
            for name in os.listdir(folder) if os.path.isdir(folder) else []:
                os.unlink(f"{folder}/{name}")

    def line(self, *arguments):
        line = [NETNS, *arguments]
        return line if is_root() else as_ordinary(*line)

    def netns(self, *arguments, status=0, timeout=PATIENT):
        """Runs sluice-netns; `status` None: any."""
        run = self.finish(self.start(self.line(*arguments)), timeout)
        if status is not None:
            self.assertEqual(run.status, status, run)
        return run

    def in_background(self, *arguments):
        process = self.start(self.line(*arguments))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def attach(self, *arguments):
        """A supervisor that has registered its container."""
        process = self.in_background("attach", *arguments)
        said = []
        while True:
            line = process.stderr.readline().decode()
            said.append(line)
            if not line:
                self.fail(f"attach ended: {said}")
            if line.endswith("is registered\n"):
                return process

    def end(self, process, number=signal.SIGTERM, status=0):
        process.send_signal(number)
        return self.ended(process, status)

    def ended(self, process, status=0):
        run = self.finish(process)
        self.assertEqual(run.status, status, run)
        return run

    def exec(self, name, *command, status=0):
        return self.netns("exec", name, "--", *command, status=status)

    def fetch(self, name, url, *more):
        """curl in a named network."""
        command = curl(*more, url)
        command[command.index("ca.pem")] = world.CA
        return self.exec(name, *command, status=None)

    def ask_proxy(self, name, url):
        """By the proxy's address, which answers a refusal with its reason."""
        return self.exec(name, "curl", "-sS", "-m", "60", "-x", "http://127.0.0.1:3128", url)

    def metric(self, name):
        line = ["curl", "-sS", "-m", "60", "--unix-socket", f"{FOLDER}/admin.sock", "http://a/metrics"]
        said = self.finish(self.start(line)).out
        found = re.search(rf"^{re.escape(name)} (\S+)$", said, re.MULTILINE)
        self.assertIsNotNone(found, said)
        return float(found[1])

    def names(self):
        return sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []

    def states(self):
        return sorted(name for name in os.listdir(STATE) if name != ".lock")

    def mounts(self):
        """Where network namespaces are mounted; the machine's own /run is covered, and not counted."""
        with open("/proc/self/mountinfo") as file:
            return sorted(set(line.split()[4] for line in file if " nsfs " in line) - self._mounts)

    def namespaces(self):
        """The network namespaces that any process of the world is in, or holds a descriptor of."""
        found = set()
        for pid in world.processes():
            paths = [f"/proc/{pid}/ns/net"]
            try:
                paths += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
                links = [os.readlink(path) for path in paths]
            except OSError:
                continue  # it has ended
            found |= {link for link in links if link.startswith("net:")}
        return found

    def assert_no_network_left(self):
        self.assertEqual(self.names(), [])
        self.assertEqual(self.states(), [])
        self.assertEqual(self.mounts(), [])
        self.wait_until(lambda: self.metric("sluice_agents") == 0, "an agent is registered still")
