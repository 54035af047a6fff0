"""A shared sluiced for the tests of a class: started as the test's identity, ended with the test."""

import os
import socket
import subprocess
import time

import world
from agent import Case, as_ordinary, is_root

FOLDER = "/run/sluice"
SOCKET = FOLDER + "/handover.sock"


class SharedCase(Case):
    admin_address = "''"

    def setUp(self):
        super().setUp()
        os.makedirs(FOLDER, exist_ok=True)
        self.own(FOLDER)
        self.addCleanup(self.remove_sockets)
        self.folder = os.path.dirname(self.policy_file)
        self.audit = f"{self.folder}/shared.jsonl"

    def remove_sockets(self):
        for name in os.listdir(FOLDER):
            if name.endswith(".sock"):
                os.unlink(f"{FOLDER}/{name}")

    def start_sluiced(self, more=""):
        """`more`: further lines of the configuration."""
        # Not *.yaml: the folder is a policy directory in some tests.
        config = self.write(
            f"{self.folder}/sluiced.conf",
            f"policy: {self.policy_file}\n"
            f"handover: {{socket: {SOCKET}}}\n"
            f"admin: {{socket: {FOLDER}/admin.sock, address: {self.admin_address}}}\n"
            f"audit: {{file: {self.audit}}}\n"
            f"state: {self.folder}\n"
            f"{more}\n",
        )
        command = [f"{world.BIN}/sluiced", "--config", config]
        daemon = subprocess.Popen(
            command if is_root() else as_ordinary(*command), env=self.environment,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.addCleanup(daemon.communicate)
        self.addCleanup(daemon.kill)
        self.wait_until(self.answers, "sluiced does not listen")
        return daemon

    def answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            try:
                client.connect(SOCKET)
                return True
            except OSError:
                return False

    def wait_until(self, condition, message, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, message)
            time.sleep(0.05)

    def stay(self, script, *options, agent="coder-1"):
        """An agent that has run `script` and stays."""
        line = ["run", "--agent", agent, *options, "--", "bash", "-c", f"{script}; echo up; sleep 300"]
        process = self.start(self.command(*line))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        for said in process.stdout:
            if said == b"up\n":
                return process
        self.fail(process.stderr.read())

    def service_manager(self):
        """Hears what those that are started from here on tell theirs."""
        path = f"{FOLDER}/notify"
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(path)
        self.addCleanup(os.unlink, path)
        self.addCleanup(manager.close)
        os.chmod(path, 0o666)
        manager.settimeout(60)
        self.environment["NOTIFY_SOCKET"] = path
        return manager
