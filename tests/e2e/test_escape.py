"""What an agent of `sluice run` sends around the proxy: nothing that a capture outside would see."""

import socket

from agent import Case
from shared import FOLDER, SharedCase

REFUSED = {"EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ENOSYS"}
# What the filter or a missing capability must refuse by name.
MUST_BE_REFUSED = {
    "tcp transparent", "tcp marked", "raw", "icmp", "packet", "vsock", "xdp", "dccp", "sctp", "l2tp",
    "sock_diag", "xfrm", "new network", "add a link", "add an address", "add a route",
    "delete a route", "add a rule",
}  # fmt: skip


class Escape(Case):
    def test_no_attempt_of_the_battery_reaches_the_wire(self):
        """Datagrams of every kind, source address games, other transports, netlink, namespaces."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind("\0sluice-outside")
        listener.listen()
        run = self.run_agent("python3", "inside/escape.py")
        told = run.json()
        for name, result in told.items():
            with self.subTest(name):
                self.assertNotIn(result, ("worked", "answered", "connected"))
        for name in MUST_BE_REFUSED:
            with self.subTest(name):
                self.assertIn(told[name], REFUSED)
        for name in ("udp", "udp ipv6", "udp to the machine", "udp to the neighbour", "udp on lo",
                     "udp-lite", "udp from a foreign address"):  # fmt: skip
            self.assertEqual(told[name], "ECONNREFUSED", name)
        for name in ("a listener beside the proxy's", "abstract socket", "tun", "network of pid 1"):
            self.assertIn(told[name], REFUSED | {"EADDRINUSE", "ECONNREFUSED", "ENOENT"}, name)
        self.assert_nothing_left(told)
        self.assertEqual(self.outside.questions(), [])

    def test_the_end_of_a_run_tells_how_many_datagrams_were_refused(self):
        run = self.shell("for i in $(seq 25); do echo escaped > /dev/udp/8.8.8.8/443; done")
        self.assertRegex(run.err, r"blocked 0, refused 25 UDP datagrams\n$")
        run = self.shell("dig +short +time=60 +tries=1 @8.8.8.8 allowed.test; echo x > /dev/udp/127.0.0.1/9")
        self.assertNotIn("UDP", run.err)
        self.assert_nothing_left()

    def test_a_server_of_the_agents_own_answers_for_no_other_address(self):
        script = """
import socket
server = socket.socket(type=socket.SOCK_DGRAM); server.bind(("0.0.0.0", 5000)); server.settimeout(1)
for address in ("8.8.8.8", "127.0.0.1"):
    client = socket.socket(type=socket.SOCK_DGRAM); client.settimeout(60)
    client.connect((address, 5000)); client.send(b"hello")
    try:
        server.sendto(b"answer", server.recvfrom(100)[1]); print(address, client.recv(100))
    except OSError:
        print(address, "refused")
"""
        run = self.run_agent("python3", "-c", script)
        self.assertEqual(run.out, "8.8.8.8 refused\n127.0.0.1 b'answer'\n", run)


class AtASharedProxy(SharedCase):
    def metrics(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(f"{FOLDER}/admin.sock")
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def test_refused_datagrams_are_counted_for_the_agent_of_each_run(self):
        self.start_sluiced()
        flood = "for i in $(seq {}); do echo escaped > /dev/udp/8.8.8.8/443; done"
        for count, total in ((5, 5), (7, 12)):
            script = flood.format(count)
            run = self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", script)
            self.assertIn(f"refused {count} UDP datagrams", run.err)
            line = f'\nsluice_udp_refused_total{{agent="coder-1"}} {total}\n'
            self.wait_until(lambda: line in self.metrics(), line)
