"""sluiced under a service manager: it takes the sockets that it is given, and answers the watchdog."""

import os
import socket
import subprocess
import sys

import world
from agent import as_ordinary, curl, is_root
from shared import FOLDER, SOCKET, SharedCase

# What systemd does between fork and exec: the descriptors from 3 on, and who they are for.
ACTIVATE = """
import os, sys
count = int(sys.argv[1])
for at in range(count):
    os.dup2(100 + at, 3 + at, inheritable=True)
os.environ.update(LISTEN_FDS=os.environ.get("TOLD", str(count)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def listening(family, kind, address, **options):
    made = socket.socket(family, kind)
    for name, value in options.items():
        made.setsockopt(socket.IPPROTO_IPV6, getattr(socket, name), value)
    made.bind(address)
    made.listen()
    return made


class ServiceManager(SharedCase):
    admin_address = "'127.0.0.1:9915'"

    def setUp(self):
        super().setUp()
        self.config = f"{self.folder}/sluiced.conf"
        self.sockets = []

    def listen(self, *arguments, **options):
        made = listening(*arguments, **options)
        self.addCleanup(made.close)
        self.sockets.append(made)
        if isinstance(arguments[2], str):
            os.chmod(arguments[2], 0o666)
        return made

    def write_config(self, more=""):
        self.write(
            self.config,
            f"policy: {self.policy_file}\nhandover: {{socket: {SOCKET}}}\n"
            f"admin: {{socket: {FOLDER}/admin.sock, address: {self.admin_address}}}\n"
            f"audit: {{file: {self.audit}}}\nstate: {self.folder}\ntimeouts: {{drain: 1s}}\n{more}\n",
        )

    def activate(self):
        for at, made in enumerate(self.sockets):
            os.dup2(made.fileno(), 100 + at, inheritable=True)
        command = [sys.executable, "-c", ACTIVATE, str(len(self.sockets)),
                   f"{world.BIN}/sluiced", "--config", self.config]  # fmt: skip
        passed = range(100, 100 + len(self.sockets))
        daemon = subprocess.Popen(
            command if is_root() else as_ordinary(*command), env=self.environment, pass_fds=passed,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for number in passed:
            os.close(number)
        self.addCleanup(daemon.communicate)
        self.addCleanup(daemon.kill)
        return daemon

    def fetch(self):
        return self.sluice("run", "--agent", "coder-1", "--", *curl("https://allowed.test/"))

    def test_callers_wait_while_no_sluiced_runs_and_are_served_by_the_next_on_the_same_sockets(self):
        self.listen(socket.AF_UNIX, socket.SOCK_SEQPACKET, SOCKET)
        self.listen(socket.AF_UNIX, socket.SOCK_STREAM, f"{FOLDER}/admin.sock")
        self.listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 3199))
        self.listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 9915))
        self.write(
            self.policy_file, "version: 1\nagents: {'*': {allow: [{host: allowed.test}]}}\n"
        )
        self.write_config("listen: [{address: '127.0.0.1:3199', agent: coder-2}]")
        made = {path: os.stat(path).st_ino for path in (SOCKET, f"{FOLDER}/admin.sock")}
        # Nobody serves yet, and nobody is refused.
        waiting = socket.create_connection(("127.0.0.1", 3199), 60)
        self.addCleanup(waiting.close)
        waiting.sendall(b"GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n")
        for _ in range(2):
            daemon = self.activate()
            self.assertTrue(waiting.recv(1000).startswith(b"HTTP/1.1 200 "))
            with socket.socket(socket.AF_UNIX) as admin:
                admin.settimeout(60)
                admin.connect(f"{FOLDER}/admin.sock")
                admin.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertIn(b" 200 ", admin.recv(1000))
            fetched = self.fetch()
            self.assertEqual(fetched.status, 0, fetched)
            daemon.terminate()
            self.assertEqual(daemon.wait(60), 0)
            self.assertEqual(made, {path: os.stat(path).st_ino for path in made})
            waiting = socket.create_connection(("127.0.0.1", 3199), 60)
            self.addCleanup(waiting.close)
            waiting.sendall(b"GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n")

    def test_a_socket_that_the_configuration_does_not_name_is_an_error(self):
        self.listen(socket.AF_UNIX, socket.SOCK_SEQPACKET, SOCKET)
        self.listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 3198))
        self.write_config()
        daemon = self.activate()
        said = daemon.communicate(timeout=60)[1]
        self.assertEqual(daemon.returncode, 1)
        self.assertIn("listens at '127.0.0.1 3198' for sluiced, whose configuration has no", said)

    def test_a_socket_for_both_ip_versions_is_an_error(self):
        self.listen(socket.AF_INET6, socket.SOCK_STREAM, ("::", 3198), IPV6_V6ONLY=0)
        self.write_config("listen: [{address: '[::]:3198', agent: coder-1}]")
        daemon = self.activate()
        self.assertIn("takes IPv4 callers too", daemon.communicate(timeout=60)[1])
        self.assertEqual(daemon.returncode, 1)

    def test_a_socket_that_does_not_listen_is_an_error(self):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        self.sockets.append(made)
        self.write_config()
        daemon = self.activate()
        said = daemon.communicate(timeout=60)[1]
        self.assertIn("descriptor 3 of LISTEN_FDS is no listening socket", said)
        self.assertEqual(daemon.returncode, 1)

    def test_a_number_of_descriptors_that_nobody_gives_is_an_error(self):
        self.write_config()
        for told in ("1025", "-1", "many"):
            self.environment["TOLD"] = told
            daemon = self.activate()
            said = daemon.communicate(timeout=60)[1]
            self.assertIn("LISTEN_FDS is no number of descriptors", said)
            self.assertEqual(daemon.returncode, 1)

    def test_descriptors_for_another_process_are_left_alone(self):
        self.environment.update(LISTEN_FDS="2", LISTEN_PID="1")
        self.start_sluiced()
        self.assertEqual(self.fetch().status, 0)

    def test_the_watchdog_hears_of_the_sluiced_that_took_over_and_no_more_of_the_old_one(self):
        manager = self.service_manager()
        self.environment["WATCHDOG_USEC"] = "400000"
        old = self.start_sluiced("timeouts: {drain: 1s}")
        heard = [manager.recv(1000).decode() for _ in range(4)]
        self.assertIn(f"MAINPID={old.pid}\nREADY=1", heard)
        self.assertGreaterEqual(heard.count("WATCHDOG=1"), 2, heard)
        command = [f"{world.BIN}/sluiced", "--config", f"{self.folder}/sluiced.conf", "--take-over"]
        new = subprocess.Popen(
            command if is_root() else as_ordinary(*command), env=self.environment,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.addCleanup(new.communicate)
        self.addCleanup(new.kill)
        self.assertEqual(old.wait(60), 0)
        while manager.recv(1000).decode() != f"MAINPID={new.pid}\nREADY=1":
            pass
        self.assertEqual([manager.recv(1000) for _ in range(3)], [b"WATCHDOG=1"] * 3)
