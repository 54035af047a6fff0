"""Explicit leases: registrations without a supervisor, over the handover protocol itself."""

import json
import os
import signal
import socket
import subprocess
import sys

import world
from agent import as_ordinary, is_root
from shared import FOLDER, SOCKET, SharedCase

WHOLE = ["tproxy4", "tproxy6", "dns_udp", "dns_tcp", "proxy"]
URL = "http://allowed.test/"

# A peer of another user and group: connects, says what it is given, prints what it hears.
STRANGER = """
import socket, sys
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
link.settimeout(60)
link.connect(sys.argv[1])
try:
    link.send(sys.argv[2].encode())
except OSError:
    pass  # it is turned away before it says anything
print(link.recv(65536).decode())
"""


class Pod:
    """A namespace of its own whose listeners the test holds."""

    def __init__(self, case):
        near, far = socket.socketpair()
        with near, far:
            self.process = subprocess.Popen(
                ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-B",
                 f"{world.INSIDE}/pod.py", str(far.fileno())],
                pass_fds=[far.fileno()], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            case.addCleanup(self.process.communicate)
            case.addCleanup(self.process.kill)
            near.settimeout(60)
            text, fds, _, _ = socket.recv_fds(near, 4096, 64)
        self.sockets = dict(zip(json.loads(text), fds, strict=True))
        case.addCleanup(self.close)

    def close(self):
        """As when nobody but sluiced holds the listeners."""
        while self.sockets:
            os.close(self.sockets.popitem()[1])

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def fetch(self, url=URL):
        return self.say(f"fetch {url}")


class Leases(SharedCase):
    admin_address = "'127.0.0.1:9915'"

    def connect(self):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(link.close)
        link.settimeout(60)
        link.connect(SOCKET)
        return link

    def ask(self, link, request, fds=()):
        self.tell(link, request, fds)
        return self.hear(link)

    def tell(self, link, request, fds=()):
        socket.send_fds(link, [json.dumps({"v": 1, **request}).encode()], list(fds))

    def hear(self, link):
        said = link.recv(1 << 16)
        return json.loads(said) if said else None

    def register(self, link, pod, agent="coder-1", roles=WHOLE):
        request = {"op": "register", "agent": agent, "sockets": roles, "names": []}
        request["lease"] = "explicit"
        return self.ask(link, request, [pod.sockets[role] for role in roles])

    def metrics(self):
        command = ["curl", "-sS", "http://127.0.0.1:9915/metrics"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    def take_over(self, old):
        command = [f"{world.BIN}/sluiced", "--config", f"{self.folder}/sluiced.conf", "--take-over"]
        new = self.start_daemon(command)
        self.assertEqual(old.wait(60), 0)
        self.assertIsNone(new.poll())
        return new

    def start_daemon(self, command):
        daemon = subprocess.Popen(
            command if is_root() else as_ordinary(*command), env=self.environment,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.addCleanup(daemon.communicate)
        self.addCleanup(daemon.kill)
        return daemon

    def test_a_lease_outlives_its_connection_and_is_ended_by_name_with_its_totals(self):
        self.start_sluiced()
        pod = Pod(self)
        with self.connect() as link:
            self.assertTrue(self.register(link, pod)["ok"])
        pod.close()
        self.assertEqual(pod.fetch(), "200")
        self.assertEqual(pod.fetch("http://evil.test/"), "403")
        self.assertEqual(pod.say("resolve allowed.test"), "0 1")
        link = self.connect()
        totals = self.ask(link, {"op": "unregister", "agent": "coder-1"})
        self.assertEqual((totals["allowed"], totals["denied"]), (1, {"not_listed": 1}))
        self.assertEqual(pod.fetch(), "ConnectionRefusedError")
        again = self.ask(link, {"op": "unregister", "agent": "coder-1"})
        self.assertIn("no explicit lease", again["error"])

    def test_a_new_sluiced_takes_leases_over_with_their_addresses_and_counts(self):
        daemon = self.start_sluiced("timeouts: {drain: 2s}")
        pod = Pod(self)
        link = self.connect()
        self.assertTrue(self.register(link, pod)["ok"])
        pod.close()
        self.assertEqual(pod.fetch(), "200")
        for _ in range(2):
            daemon = self.take_over(daemon)
            self.assertEqual(pod.fetch(), "200")
            self.assertEqual(pod.say("resolve allowed.test"), "0 1")
        # The connection that asked for the lease may still speak for it.
        self.tell(link, {"op": "event", "kind": "udp_refused", "count": 5})
        told = 'sluice_udp_refused_total{agent="coder-1"} 5\n'
        self.wait_until(lambda: told in self.metrics(), "it is not heard")
        totals = self.ask(self.connect(), {"op": "unregister", "agent": "coder-1"})
        self.assertEqual(totals["allowed"], 3)
        self.assertIn(told, self.metrics())
        self.assertEqual(pod.fetch(), "ConnectionRefusedError")

    def test_a_take_over_carries_listeners_of_single_ports_to_which_more_can_be_added(self):
        daemon = self.start_sluiced("timeouts: {drain: 1s}")
        pod = Pod(self)
        ports = [fd for name, fd in pod.sockets.items() if name.startswith("port")]
        link = self.connect()
        self.assertTrue(self.register(link, pod, roles=["dns_udp", "dns_tcp", "proxy"])["ok"])

        def add(fds):
            return self.ask(link, {"op": "add", "sockets": ["port"] * len(fds)}, fds)

        self.assertTrue(add(ports[:3])["ok"])
        self.assertTrue(add(ports[3:19])["ok"])
        for _ in range(2):  # with more listeners than one message carries
            daemon = self.take_over(daemon)
        self.assertIn("port 9018 has a listener twice", add(ports[18:19])["error"])
        self.assertTrue(add(ports[19:])["ok"])
        pod.close()
        self.assertEqual(pod.fetch(), "200")
        self.assertEqual(pod.say("knock 9018"), "403")
        self.assertEqual(pod.say("knock 9019"), "403")
        self.assertIsNone(daemon.poll())

    def test_after_a_crash_a_lease_comes_back_by_asking_for_it_again(self):
        daemon = self.start_sluiced()
        pod = Pod(self)
        self.assertTrue(self.register(self.connect(), pod)["ok"])
        self.assertEqual(pod.fetch(), "200")
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(60)
        self.assertTrue(os.path.exists(SOCKET), "what is left of it is a dead socket")
        daemon = self.start_sluiced()
        link = self.connect()
        first = self.register(link, pod)
        self.assertTrue(first["ok"])
        self.assertEqual(self.register(link, pod), first)
        self.assertEqual(self.register(self.connect(), pod), first)
        self.assertEqual(pod.fetch(), "200")
        self.assertIsNone(daemon.poll())

    def test_a_way_out_ends_the_service_and_stands_in_the_account(self):
        self.start_sluiced()
        pod = Pod(self)
        self.assertTrue(self.register(self.connect(), pod)["ok"])
        pod.close()
        self.assertEqual(pod.fetch(), "200")
        event = {"op": "event", "kind": "way_out", "text": "link 'eth0' (veth)"}
        self.tell(self.connect(), {**event, "agent": "coder-1"})
        self.wait_until(lambda: pod.fetch() == "ConnectionRefusedError", "it is still served")

        def seen():
            with open(self.audit) as file:
                lines = [json.loads(line) for line in file if line.endswith("\n") and "agent_end" not in line]
            return [line for line in lines if line["via"] == "event"]

        self.wait_until(seen, "no audit line")
        (line,) = seen()
        self.assertEqual(line["agent"], "coder-1")
        self.assertEqual(line["verdict"], "deny")
        self.assertEqual(line["error"], "link 'eth0' (veth)")

    def test_ports_are_told_again_after_a_reload_and_by_the_next_sluiced(self):
        policy = "version: 1\nagents:\n  coder-1:\n    allow: [{host: allowed.test, ports: [%s]}]\n"
        self.write(self.policy_file, policy % "443")
        daemon = self.start_sluiced("timeouts: {drain: 1s}")
        link = self.connect()
        self.assertEqual(self.ask(link, {"op": "ports", "agent": "coder-1"})["ports"], [443])
        self.write(self.policy_file, policy % "22, 443")
        daemon.send_signal(signal.SIGHUP)
        self.assertEqual(self.hear(link)["ports"], [22, 443])
        self.take_over(daemon)
        self.assertEqual(self.hear(link)["ports"], [22, 443])

    def test_peers_are_admitted_by_user_and_group_and_take_only_their_names(self):
        if os.environ["SLUICE_E2E_WORLD"] != "root":
            self.skipTest("only root can be several users")
        config = self.write(
            f"{self.folder}/sluiced.conf",
            f"policy: {self.policy_file}\n"
            f"handover:\n  socket: {SOCKET}\n  peers:\n"
            "    - {uid: 4001, agents: ['one-*']}\n"
            "    - {gid: 4005, agents: ['${user}-*']}\n"
            f"admin: {{socket: {FOLDER}/admin.sock, address: ''}}\n"
            f"audit: {{file: {self.audit}}}\nstate: {self.folder}\n",
        )
        self.start_daemon([f"{world.BIN}/sluiced", "--config", config])
        self.wait_until(self.answers, "sluiced does not listen")

        def heard(uid, agent, *groups):
            who = [f"--reuid={uid}", "--regid=4000"]
            who.append("--groups=" + ",".join(groups) if groups else "--clear-groups")
            ask = json.dumps({"v": 1, "op": "ports", "agent": agent})
            line = ["setpriv", *who, "--", sys.executable, "-c", STRANGER, SOCKET, ask]
            run = subprocess.run(line, capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, 0, run)
            return run.stdout

        self.assertIn('"ports"', heard(4001, "one-7"))
        self.assertIn("may take: one-*", heard(4001, "two-7"))
        self.assertIn('"ports"', heard(4002, "4002-x", "4004", "4005"))
        self.assertIn("may take: 4002-*", heard(4002, "4001-x", "4005"))
        refused = heard(4003, "one-7", "4004")
        self.assertIn("user 4003 may hand over no agents", refused)
        self.assertIn("no line of sluiced's handover.peers admits it", refused)
